"""The command lines of lifeiqa's training side, one module each."""
