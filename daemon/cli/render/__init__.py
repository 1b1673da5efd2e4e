"""How facts look to a person. Nothing is asked of the store or of a daemon here."""
