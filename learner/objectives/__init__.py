"""What a step minimises: losses with their gradients, penalties on weights, and how much each weight matters.

No text and no files.
"""
