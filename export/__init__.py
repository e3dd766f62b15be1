"""Turns Life-IQA checkpoints into artifacts for `lifeiqa.runtime`."""
