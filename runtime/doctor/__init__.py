"""Looks at a machine: what `lifeiqa-doctor` reports. Nothing here loads PyTorch or onnx."""
