"""Who is answered by a generation that is watched, and how its answers went.

What follows from it the daemon decides.
"""
