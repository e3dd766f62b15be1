"""The PyTorch reference of Life-IQA: network, checkpoints, synthetic data, training."""
