"""Rounds and generations: what each was given, how it ended, what serves. No text is taken in or trained on here."""
