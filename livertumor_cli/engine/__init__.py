"""Engines: one ONNX file on one device, and what was obtained there."""
