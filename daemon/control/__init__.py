"""What a person or a script can ask of Riverkeep, and what is done then, with a daemon or without.

No HTTP and no tables.
"""
