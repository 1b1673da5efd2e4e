"""How a model is to be asked so that its answers are its own: found out by asking it, not from a list."""
