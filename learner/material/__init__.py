"""From a round's samples to rows and micro-batches: what is fed, in which order.

How much a mistake costs is decided in `objectives`.
"""
