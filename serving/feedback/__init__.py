"""What people say of answers: taken in durably here, and drained from here by whoever keeps the memory.

How it is kept for good, and what is learned of it, is decided elsewhere.
"""
