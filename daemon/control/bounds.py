"""How much may be asked for at once, how large what is named may be, and how long an answer may wait."""

from typing import Final

ROUND_ENDS_WITHIN_S: Final = 120.0
"""So long an answer waits for the end of a round that is called off; its learner gets a while to end."""
LARGEST_ID: Final = 2**63 - 1
"""Of what the store numbers: samples, gaps, dead letters."""
MOST_ROWS: Final = 500
"""Of a page."""
MOST_FLIPS: Final = 50
"""Of a round's documents that flipped, in each direction."""
MOST_ASIDE_IDS: Final = 5_000
"""Samples that one request to erase a part of what is set aside may name: as many as fit in its body."""
MOST_DEAD_LETTER_IDS: Final = 10_000
LONGEST_REASON: Final = 500
"""Characters of why rounds are paused."""
LONGEST_KEY: Final = 4_096
"""Characters of a key, or a source, by which a part of what is set aside is chosen."""
LONGEST_TOPIC: Final = 5_000
"""Characters of a topic: of a file it is `file:` and the path."""
MOST_PEEKED: Final = 50
"""Records that one look into Kafka brings."""
LONGEST_PROMPT: Final = 32_000
"""Characters of a prompt that two generations answer."""
MOST_ANSWER_TOKENS: Final = 1_024
"""Of each answer: on a CPU, beside everything else, one takes a second or so with a large model."""
HIGHEST_TEMPERATURE: Final = 2.0
MOST_HOURS: Final = 24
"""Over which answers' times are kept."""
