"""Generations handed to engines that others run: where they lie, who is told of them, and when they go."""
