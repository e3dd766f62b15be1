"""Scores many files: decoding in processes beside inference, in order, with results that survive a killed run."""
