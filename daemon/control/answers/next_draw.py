"""What a round would be given if it were drawn now."""

from typing import TypedDict

from daemon.control.answers.rounds import LeftOutPart


class DrawnPart(TypedDict):
    """Samples of one source that would be given as one part.

    Attributes:
        part: `fresh` (new, trained on), `replay`, `early_stop` or `over_quota`, as in `RoundSampleLine`.
        tokens: estimated from the text's bytes.
    """

    part: str
    source: str
    samples: int
    tokens: int


class ForeseenSlice(TypedDict):
    """Held-out text that the round would be judged on.

    Attributes:
        kind: `anchor`, `newest` or `period`.
        source: empty for the anchor, which is of all.
    """

    kind: str
    source: str
    documents: int


class NextDraw(TypedDict):
    """What a round would be given if it were drawn now; nothing is drawn.

    Attributes:
        round: the number that it would have.
        parent: the generation that it would start from.
        parts: by part and source. What is new is certain, but for what turns out to be nearly held-out text and is not
            drawn then; what is replayed is one draw of many that are as likely.
        slices: by kind and source.
        left_out: new text that it would not be given, or not be trained on, for a setting's sake.
        replay_ratio: replayed tokens as a share of all, as the recipe asks for.
        judges_again: that it would train nothing and judge again what an earlier round trained, a sentence; else empty.
    """

    round: int
    parent: int
    parts: list[DrawnPart]
    slices: list[ForeseenSlice]
    left_out: list[LeftOutPart]
    replay_ratio: float
    judges_again: str
