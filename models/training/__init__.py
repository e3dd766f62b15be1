"""Training: recipes, batches, losses, and runs that can be stopped and resumed."""
