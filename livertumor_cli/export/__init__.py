"""Checkpoints to checked ONNX; torch only, imported by the command `export`."""
