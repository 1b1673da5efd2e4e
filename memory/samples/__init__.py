"""What is kept, and how much of it: roles, slices, replay within its budgets, removal.

Whether a text is new is decided before.
"""
