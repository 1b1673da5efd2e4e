"""The file and its tables: opening, checking, migrating, and SQLite's errors in words.

What rows mean is decided elsewhere.
"""
