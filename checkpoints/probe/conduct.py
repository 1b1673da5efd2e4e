"""What the probe found out about a model, and what keeps one from being used."""

from dataclasses import dataclass
from typing import Final, Literal

from checkpoints.errors import CheckpointsError
from checkpoints.kinds import KINDS, ModelKind

Cache = Literal["shared", "abreast", "given", "own", "none"]
Side = Literal["right", "left"]


class UnfitModel(CheckpointsError):
    """A model that loads, but answers in a way that can be neither trained on nor served rightly."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a model that writes is asked for one token after another.

    Attributes:
        cache: `shared`: sequences share passes and a cache that is padded on the left; `abreast`: only those do that
            have written as many tokens, as what a decoder counts bears no padding; `given`: each has a cache of
            the kinds that its configuration asks for; `own`: each has what the model itself returned; `none`: each is
            read anew for every token.
        first_position: what the first token's position is called; None: the model counts for itself.
        stretches: a prompt may be read in several passes.
    """

    cache: Cache
    first_position: int | None = None
    stretches: bool = True

    @property
    def together(self) -> bool:
        """Whether sequences share passes."""
        return self.cache in ("shared", "abreast")

    @property
    def description(self) -> str:
        """How it is served, for people."""
        if self.cache == "none":
            return "one request at a time, read anew for each token"
        if self.cache == "shared":
            return "requests together, with a cache"
        if self.cache == "abreast":
            return "requests that begin together share passes, with a cache"
        return "one request at a time, with a cache" + ("" if self.stretches else ", the prompt in one pass")


ANEW: Final = Way("none", stretches=False)
"""Slow, and right for every model whose answer is its whole pass."""


@dataclass(frozen=True, slots=True)
class Conduct:
    """How a model is to be asked.

    Attributes:
        longest: most tokens of a sequence that its positions allow; None: nothing sets a limit.
        rows_together: sequences of several lengths, padded on the right and without a mask, share a pass and get what
            they get alone. Of a model that writes nothing: with a mask, padded on `padding`.
        packed: documents in one row are kept apart by positions that restart.
        way: how a model writes.
        cached_up_to: most tokens that are right with a cache; a longer sequence is read anew for each token.
        padding: the side on which texts of a model that writes nothing are padded; None: one at a time.
        answered: a short text that it has answered, to ask again when another fails.
    """

    longest: int | None
    rows_together: bool
    packed: bool = False
    way: Way = ANEW
    cached_up_to: int | None = None
    padding: Side | None = None
    answered: tuple[int, ...] = ()

    def description(self, kind: ModelKind) -> str:
        """How the model is asked, for people."""
        if KINDS[kind].writes:
            return self.way.description
        return "one text at a time" if self.padding is None else f"texts together, padded on the {self.padding}"

    def cost(self, kind: ModelKind) -> str:
        """What it costs that the model cannot be asked as others are; empty where it costs nothing."""
        if not KINDS[kind].writes:
            if self.padding is not None:
                return ""
            return "its answers depend on what shares the batch, on whichever side it is padded: texts take turns"
        if self.way.cache == "none":
            return "its logits token by token are not those of a whole pass, with any cache: answers take far longer"
        if self.way.cache == "abreast":
            return "its decoder counts what it has written: requests that come one after another take turns"
        if not self.way.together:
            return "its answers depend on what shares the batch, or its cache cannot be shared: requests take turns"
        return ""
