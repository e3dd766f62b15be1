"""Training pictures made by program: distortions, ladders of them, pseudo-MOS."""
