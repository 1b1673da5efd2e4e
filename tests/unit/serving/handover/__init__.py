"""Generations that are handed over."""
