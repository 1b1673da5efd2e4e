"""What a round takes of memory by a model's shape, and how long sequences it bears. No model is loaded here."""
