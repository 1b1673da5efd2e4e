"""How sure a difference between two models is: differences by key, their limits, and how many keys it takes."""
