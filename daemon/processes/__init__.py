"""Learner, serving and the import of a base as child processes: started, watched, ended whole.

What they are given is decided elsewhere.
"""
