"""What becomes of rounds that were cut off: ended by what they had reached, gone on with from a save, or discarded.

While one runs, `round_learner` lets it go on by itself.
"""
