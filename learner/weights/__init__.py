"""What becomes of a model's weights between rounds: candidates, what rounding cuts off them, and files beside them.

How weights are trained is decided in `training`.
"""
