"""Checkpoint files, read and written, and the scorer that runs them in PyTorch."""
