"""The paper's tables and figures, each as an experiment that can be run."""
