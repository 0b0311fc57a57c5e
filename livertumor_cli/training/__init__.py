"""Training of the stages on folders of labeled CTs; torch only, imported by the command `train`."""
