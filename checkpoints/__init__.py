"""Generations on disk: load, write atomically, verify, lineage card, retention."""
