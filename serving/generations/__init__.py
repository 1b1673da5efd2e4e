"""Which generation answers: followed, loaded and warmed beside the old one, switched.

What is good enough to serve the gate decides.
"""
