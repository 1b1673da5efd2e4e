"""What is asked of one candidate by itself: a figure beside its bound, in words, and whether scoring can end there."""
