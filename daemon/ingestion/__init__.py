"""From streams and files into the store, and dead letters on their way out.

What becomes of a document is decided in `memory`.
"""
