"""Generations that are adapters: what they lie on, how their weights are written, and what both make together.

What an adapter learns, and when a whole generation is written again, is decided in the learner.
"""
