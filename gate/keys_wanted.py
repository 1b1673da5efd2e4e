"""How many keys a slice needs to be judged by: what the memory holds out follows it."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from checkpoints.card import ModelKind
from gate.checks.check import BY_PROOF, MAJORITY, Check
from gate.verdict import MOST_MORE, times_more

AT_FIRST: Final[dict[ModelKind, float]] = {"causal-lm": 1.5, "seq2seq": 1.5, "masked-lm": 1.5, "classifier": 4.0}
"""Times `minimum_documents` that a slice needs before any verdict tells.

A limit lies about 2.2 spreads of the paired differences over the square root of the keys beyond its figure (98.3 %, of
three candidates). On the streams of `benchmarks/gate.py` (seed 0, 39 to 293 keys) a language model's differences from
its parent spread by 0.06 to 0.16 nats a token on older slices. Half again the minimum (54 keys) proves that a rise of
0.03 keeps a bound of 0.08, and a share that brings as many in the mean brings fewer than 36 in one period of 150. A
classifier's loss is of one answer: its differences spread by 0.32 to 0.48. With four times the minimum (144 keys) a
limit lies 0.06 to 0.09 beyond its figure; with a language model's keys it would lie up to 0.14.
"""
_CHECK: Final = TypeAdapter(Check)
BETWEEN: Final = " + "
"""Stands between the names of slices that were judged together."""


def keys_at_first(kind: ModelKind, minimum: int) -> int:
    """Keys that a slice needs before any verdict tells.

    Args:
        kind: of the model.
        minimum: `gate.minimum_documents`.
    """
    return math.ceil(AT_FIRST[kind] * minimum)


def keys_wanted(kind: ModelKind, minimum: int, checks: Sequence[Check]) -> int:
    """Keys that each slice of the next round needs, by the latest judged round's checks.

    As many as the check that was hardest to prove would have needed, were its figure the true one: more than there were
    where it failed for want of evidence, but no more than twice as many, as figures move; fewer where it passed. What
    was proven to be beyond its bound asks for nothing, as no evidence could have helped; nor what only proof fails.

    Args:
        kind: of the model.
        minimum: `gate.minimum_documents`.
        checks: of the latest round that was judged; none before there is one.
    """
    slices = {name for check in checks for name in _slices_of(check)}
    needed = (
        check.keys * min(times_more(check), MOST_MORE) / (len(slices) if check.name == MAJORITY else _joined(check))
        for check in checks
        if check.keys and (check.passed or check.unproven) and check.name not in BY_PROOF
    )
    return max(keys_at_first(kind, minimum), math.ceil(max(needed, default=0.0)))


def _slices_of(check: Check) -> Iterable[str]:
    return () if check.name == MAJORITY or not check.keys else check.slice.split(BETWEEN)


def _joined(check: Check) -> int:
    """How many slices share the check's keys."""
    return len(check.slice.split(BETWEEN))


def read_checks(verdict: Mapping[str, Any]) -> tuple[Check, ...]:
    """A candidate's checks in a verdict as the ledger keeps it.

    None where nothing was judged, or an earlier version wrote it otherwise.
    """
    try:
        # As JSON: strict types are made of nothing else.
        checks = [_CHECK.validate_json(to_json(check)) for check in verdict.get("checks", ())]
    except ValidationError:
        return ()
    return tuple(check for check in checks if check.keys)
