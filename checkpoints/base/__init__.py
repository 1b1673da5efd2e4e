"""What may become generation 0, and what is made of it first.

Nothing is trained here, and nothing of a user's model is changed.
"""
