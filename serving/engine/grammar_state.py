"""Where an answer stands in what it is held to."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor


class GrammarState(Protocol):
    """Where one answer stands in its grammar."""

    @property
    def ended(self) -> bool:
        """Whether nothing more may come."""

    def mask(self, scores: Tensor) -> Tensor:
        """The scores with those of tokens that may not come next at -inf; shape (vocabulary,), on the CPU.

        Raises:
            RequestError: none may.
        """

    def accept(self, token: int) -> None:
        """Go on by the token that was drawn."""


class Grammar(Protocol):
    """What answers may be, for one vocabulary."""

    def begin(self) -> GrammarState:
        """The state of a new answer."""


@dataclass(frozen=True, slots=True)
class WantedFormat:
    """What a request wants its answers held to.

    Attributes:
        schema: JSON schema that can be held, as text.
        param: the request's field that asks for it: errors name that.
    """

    schema: str
    param: str = "response_format"


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """What an answer is held to.

    Attributes:
        schema: JSON schema, as text.
        grammar: the same for the builtin engine; None: another program holds it.
    """

    schema: str
    grammar: Grammar | None = None
