"""Two generations answer one prompt, one after the other, in a process of its own that is asked once and ends.

It serves nobody: what it is asked comes on standard input, what it answers goes to standard output, and nothing is
written down. Who starts it, and whether it may begin at all, is decided elsewhere.
"""
