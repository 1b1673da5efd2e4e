"""How a model reads text that it is not trained on: held-out slices, new text beforehand, candidates.

What follows from it the gate decides.
"""
