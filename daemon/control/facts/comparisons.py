"""Two generations' answers to one prompt, and which of them people found the better: what may be told of either."""

from collections.abc import Iterable
from typing import Final

import numpy as np

from daemon.comparisons.answer_comparison import AnswerComparison, ComparisonState
from daemon.control.answers.comparisons import AnswerLine, ComparisonAnswer, PickTally
from gate.live.intervals import rate
from memory.ledger.history.picks import PickCounts
from serving.comparison.exchange import AnswerEvent, PromptAnswer

LIMIT: Final = 0.975
"""Of each side of a 95 % interval."""
HIDDEN: Final = "both answer in turn"
BEGINNING: Final = "its process begins"


def comparison(found: AnswerComparison, tally: PickTally | None, now: float) -> ComparisonAnswer:
    """What may be told of a comparison.

    While it is hidden whose an answer is, nothing is told that generations could be known by: no tokens and no times of
    one of them, not even while they answer, when whose files were at hand is loaded sooner.

    Args:
        found: the comparison.
        tally: of its pair; left out while it is hidden.
        now: unix seconds.
    """
    wish, is_over = found.wish, found.ended_at is not None
    sides = (("left", found.left), ("right", found.right))
    return {
        "number": found.number,
        "state": found.state.value,
        "detail": found.detail,
        "doing": "" if is_over else HIDDEN if found.is_hidden else _doing(found.doing, wish.max_tokens),
        "first": wish.first,
        "second": wish.second,
        "prompt": wish.prompt,
        "blind": wish.blind,
        "chat": wish.chat,
        "max_tokens": wish.max_tokens,
        "temperature": wish.temperature,
        "seed": wish.seed,
        "begun_at": found.begun_at,
        "seconds": round(max(0.0, (now if found.ended_at is None else found.ended_at) - found.begun_at), 1),
        "answers": [
            _answer(side, None if found.is_hidden else number, found.answers[number])
            for side, number in sides
            if found.state is ComparisonState.ANSWERED
        ],
        "picked": found.choice,
        "picked_by": found.picked_by,
        "tally": None if found.is_hidden else tally,
    }


def _doing(event: AnswerEvent | None, most: int) -> str:
    if event is None:
        return BEGINNING
    if event.event == "loading":
        return f"generation {event.generation} is verified and loaded"
    if event.event == "answering":
        written = f", {event.tokens:,} of {most:,} tokens at most" if event.tokens else ""
        return f"generation {event.generation} answers{written}"
    return f"generation {event.generation} has answered"


def _answer(side: str, generation: int | None, answer: PromptAnswer) -> AnswerLine:
    is_hidden = generation is None
    return {
        "side": side,
        "generation": generation,
        "text": answer.text,
        "finish": answer.finish,
        "labels": [{"label": each.label, "probability": each.probability} for each in answer.labels],
        "truncated": answer.truncated,
        "tokens": None if is_hidden else answer.tokens,
        "prompt_tokens": None if is_hidden else answer.prompt_tokens,
        "seconds_loading": None if is_hidden else round(answer.seconds_loading, 1),
        "seconds_answering": None if is_hidden else round(answer.seconds_answering, 1),
    }


def tallies(counts: Iterable[PickCounts]) -> list[PickTally]:
    """By pair, in the order in which pairs come."""
    pairs: dict[tuple[int, int], list[PickCounts]] = {}
    for line in counts:
        pairs.setdefault((line.first, line.second), []).append(line)
    return [_tally(*pair, people) for pair, people in pairs.items()]


def tally_of(pair: tuple[int, int], counts: Iterable[PickCounts]) -> PickTally:
    """Of one pair, also where nobody has picked from it."""
    first, second = sorted(pair)
    return _tally(first, second, list(counts))


def _tally(first: int, second: int, people: list[PickCounts]) -> PickTally:
    decided = np.array([(each.first_better + each.second_better, each.first_better) for each in people], float)
    decided = decided.reshape(-1, 2)
    share = rate(decided, LIMIT) if decided.sum() else None
    return {
        "first": first,
        "second": second,
        "first_better": sum(each.first_better for each in people),
        "second_better": sum(each.second_better for each in people),
        "equal": sum(each.equal for each in people),
        "people": len(people),
        "first_share": None if share is None else share.estimate,
        "first_share_lower": None if share is None else share.lower,
        "first_share_upper": None if share is None else share.upper,
        "latest_at": max((each.latest_at for each in people), default=None),
    }
