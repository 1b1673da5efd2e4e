"""The step and the loop around it: rates, clipping, when to stop. What is minimised is decided in `objectives`."""
