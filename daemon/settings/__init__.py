"""Which settings there are, and what is wrong with those that were written. Nothing is started here."""
