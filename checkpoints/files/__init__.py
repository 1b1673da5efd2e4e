"""Which files a generation has, whether they are whole, and how they appear at once.

No torch; what a model answers is never asked here.
"""
