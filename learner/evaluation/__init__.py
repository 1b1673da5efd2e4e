"""How a model reads text that it is not trained on: held-out slices, and new text beforehand.

What follows from it the gate decides.
"""
