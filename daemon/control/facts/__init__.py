"""What the store knows, as answers of operations: bounded, text only where it is asked for. Nothing is changed."""
