"""The Life-IQA network in PyTorch: backbone, GCN decoder, mixture of experts."""
