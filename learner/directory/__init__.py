"""What a round's directory holds: what goes in, what comes out, and the checks at its edge.

Torch-free; nothing is trained here.
"""
