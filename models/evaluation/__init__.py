"""How well scores follow labels: correlations, and whole data sets measured."""
