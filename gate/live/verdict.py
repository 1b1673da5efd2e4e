"""What is said of a watched generation: checks with figure, bound and limits, and one sentence for a person."""

import math
from typing import Any, Literal

from pydantic.dataclasses import dataclass
from pydantic_core import to_jsonable_python

from checkpoints.json_files import STRICT, Figure

LiveDecision = Literal["promote", "hold", "roll_back"]

WHAT = {
    "errors": "failed answers",
    "rejected": "answers that people rejected, of those that they judged",
    "first_token": "time to the first token",
    "pace": "time for each further token",
    "loss": "loss of what arrives",
}


@dataclass(frozen=True, slots=True, config=STRICT)
class LiveCheck:
    """One comparison in traffic and its bound.

    Attributes:
        name: `errors`, `first_token`, `pace`, `loss`, or another rate that is counted.
        kind: whether the figure is a difference of rates, a ratio of typical values, or a difference in nats a token.
        figure: what was measured, so that more is worse.
        bound: the largest that is allowed.
        lower, upper: confidence limits: of proof that the bound is broken, and of proof that it is kept.
        answers: of the watched generation that it rests on; of `loss` tokens that both read.
        not_compared: why nothing was measured, as nothing can be here; empty where it was, or may be.
    """

    name: str
    kind: Literal["difference", "ratio", "nats"]
    figure: Figure
    bound: float
    lower: Figure
    upper: Figure
    answers: int
    not_compared: str = ""

    @property
    def proven_kept(self) -> bool:
        """Whether the bound is kept for sure."""
        return self.upper <= self.bound

    @property
    def proven_broken(self) -> bool:
        """Whether it is broken for sure."""
        return self.lower > self.bound

    @property
    def looks_broken(self) -> bool:
        """Whether the figure is beyond the bound, sure or not; what was not measured is not."""
        return self.figure > self.bound

    def sentence(self) -> str:
        """What was found, for a person."""
        what = WHAT.get(self.name, self.name.replace("_", " "))
        if self.not_compared:
            return f"{what}: not compared, as {self.not_compared}"
        if math.isnan(self.figure):
            return f"{what}: nothing to compare yet"
        within = f"within {self._told(self.lower)} … {self._told(self.upper)}"
        return f"{what}: {self._told(self.figure)}, {within}, bound {self._told(self.bound)}"

    def _told(self, value: float) -> str:
        if not math.isfinite(value):
            return "unknown"
        if self.kind == "nats":
            return f"{value:+.4f} nats a token"
        return f"{value:+.2%}" if self.kind == "difference" else f"{value:.2f} times"


@dataclass(frozen=True, slots=True, config=STRICT)
class LiveVerdict:
    """What follows for a watched generation.

    Attributes:
        decision: promote, hold (watch on), or roll back.
        sentence: why, for a person.
        checks: what was compared.
        answers, serving_answers: of the watched generation and of the serving one, in all.
    """

    decision: LiveDecision
    sentence: str
    checks: tuple[LiveCheck, ...] = ()
    answers: int = 0
    serving_answers: int = 0

    def to_json(self) -> dict[str, Any]:
        """The verdict as JSON values, for the ledger; figures that are not finite become None."""
        values: dict[str, Any] = to_jsonable_python(self)
        return values
