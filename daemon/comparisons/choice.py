"""Which of two answers is the better: a word that commands know without what it is about."""

from typing import Literal

Choice = Literal["left", "right", "equal"]
"""By the side that an answer stood on."""
