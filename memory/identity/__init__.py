"""When two texts, or two keys, are the same, or nearly. Nothing is stored or removed on account of it here."""
