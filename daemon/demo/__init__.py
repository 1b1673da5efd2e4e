"""`riverkeep demo`: the whole service on real parts and real text, on one screen, in three minutes."""
