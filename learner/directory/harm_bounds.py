"""How much worse a round's candidates may be on older text, as its directory tells the learner."""

from collections.abc import Mapping
from dataclasses import field
from typing import Annotated

from pydantic import Strict
from pydantic.dataclasses import dataclass

from checkpoints.json_files import STRICT


@dataclass(frozen=True, slots=True, config=STRICT)
class HarmBound:
    """What is asked of every candidate on some older text, whatever else it is asked.

    Attributes:
        slices: whose documents are judged as one.
        over_parent: the largest rise of their loss over the parent's, in nats per token (per document of a classifier).
        over_base: the same over the base's; None where it is not bounded.
        errors: by how many standard errors a rise lies beyond its bound that is proven to break it.
        keys: the least drawn document of the same key, for each document that is not that one itself.
    """

    slices: tuple[str, ...]
    over_parent: float
    over_base: float | None
    errors: float
    keys: Mapping[Annotated[int, Strict(strict=False)], int] = field(default_factory=dict)
