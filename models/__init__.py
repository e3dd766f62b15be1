"""The PyTorch reference of Life-IQA: network, checkpoints, data sets, training, evaluation, the paper's tables."""
