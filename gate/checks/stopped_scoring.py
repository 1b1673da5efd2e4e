"""What is told of a candidate that was scored no further."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic.dataclasses import dataclass

from checkpoints.json_files import STRICT, read_json
from gate.checks.check import Check


@dataclass(frozen=True, slots=True, config=STRICT)
class StoppedScoring:
    """A candidate that was scored no further, and is refused.

    Attributes:
        candidate: its name.
        broken: the check that it failed; None where its scores do not prove one, so that it merely lacks evidence.
        unscored: slices that it was not scored on.
        unasked: skills that it was not asked.
    """

    candidate: str
    broken: Check | None
    unscored: tuple[str, ...]
    unasked: tuple[str, ...]

    def sentence(self) -> str:
        """Why, and what was left out, for a person."""
        why = "though nothing proves that it breaks a bound" if self.broken is None else self.broken.sentence()
        counts = ((len(self.unscored), "slice"), (len(self.unasked), "skill"))
        left = " and ".join(f"{count} {what}{'s' * (count > 1)}" for count, what in counts if count)
        return f"Candidate {self.candidate} was scored no further: {why}. Left out: {left or 'nothing'}."


def stopped_sentences(verdict: Mapping[str, Any]) -> Iterator[str]:
    """Tell of a verdict, as the ledger has it, which candidates were scored no further, and why.

    Verdicts of versions before tell of none, and what another version wrote of one is passed over.
    """
    for fields in verdict.get("stopped", ()):
        try:
            yield read_json(StoppedScoring, json.dumps(fields).encode()).sentence()
        except ValidationError:
            continue
