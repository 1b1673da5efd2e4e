"""One answer to be written, and what is told of it while it is: its pieces, its end, what went wrong."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Literal

from serving.engine.grammar_state import AnswerFormat
from serving.engine.loaded import LoadedGeneration
from serving.engine.sampling import Sampling
from serving.engine.scores import TokenScore
from serving.engine.text import TextStream
from serving.engine.traces import NO_REQUEST, RequestTrace

Finish = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class Delta:
    """A further piece of an answer.

    Attributes:
        text: of the answer; may be empty.
        scores: of the tokens that this piece makes certain, where they were asked for.
    """

    text: str
    scores: tuple[TokenScore, ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer's end.

    Attributes:
        reason: why it ends.
        tokens: how many it took.
        score: of the token that ended it, which is no part of its text; where scores were asked for.
    """

    reason: Finish
    tokens: int
    score: TokenScore | None = None


Event = Delta | Finished | Exception


@dataclass(frozen=True, slots=True)
class Unheard:
    """What is known of an answer that an engine gives when it is whole, and says nothing of before.

    Attributes:
        since: when it was asked for, on the monotonic clock.
        token_s: the shortest time that this engine took for a token, over a whole answer; None: that is not known yet.
    """

    since: float
    token_s: float | None

    def most(self, now: float, limit: int) -> int:
        """How many tokens it may have by now, at the engine's fastest; no more than `limit`, which are asked for."""
        return limit if self.token_s is None else min(limit, ceil((now - self.since) / self.token_s))


# By identity: two requests that ask the same are two.
@dataclass(eq=False, slots=True)
class Completion:
    """One answer to be written.

    Attributes:
        generation: where it comes from, from beginning to end.
        prompt: token ids, at least one.
        max_tokens: most tokens of the answer; 0 where only the prompt is asked about.
        sampling: how tokens are drawn.
        stop: texts before which it ends.
        on_event: takes its pieces and its end, on the worker's thread; must not block.
        stop_ids: tokens before which it ends; None: those that end the generation's answers.
        scored: with how many of the most probable tokens each token's log-probability is told; None: it is not.
        echo: the prompt as a text, which is the answer's first piece, with its tokens' scores; None: it is not.
        held_to: what the answer has to be; None: anything.
        cancelled: set by whoever no longer wants it; it then ends without an event.
        trial: it tries a generation that does not serve yet.
        owner: whose it is; owners take turns.
        trace: of the request that it is for.
        watched: the generation is a canary.
        whole: nobody looks at it before its end; an engine may then give it in one piece.
        submitted: when, on the monotonic clock.
        ended: it has had its last event.
        written: how many tokens it has so far, also where it is given up later.
        unheard: what is known of it until its end, where nothing is heard before; None: each piece is.
        first_token_at: when its first token came, on the monotonic clock.
        ended_at: when its last event came.
    """

    generation: LoadedGeneration
    prompt: Sequence[int]
    max_tokens: int
    sampling: Sampling
    stop: Sequence[str]
    on_event: Callable[[Event], None]
    stop_ids: frozenset[int] | None = None
    scored: int | None = None
    echo: str | None = None
    held_to: AnswerFormat | None = None
    cancelled: bool = False
    trial: bool = False
    owner: str = ""
    trace: RequestTrace = NO_REQUEST
    watched: bool = False
    whole: bool = False
    submitted: float = field(default_factory=time.monotonic)
    ended: bool = False
    written: int = 0
    unheard: Unheard | None = None
    first_token_at: float | None = None
    ended_at: float | None = None

    def emit(self, event: Event) -> None:
        """Tell the one who waits, unless it ended or nobody does."""
        if self.ended or self.cancelled:
            return
        # Before the event is handed over: the event loop takes it at once, and gives up what has not ended yet.
        self.ended = not isinstance(event, Delta)
        if self.ended:
            self.ended_at = time.monotonic()
        self.on_event(event)

    def fail(self, error: Exception) -> None:
        """End it with an error."""
        self.emit(error)

    def seconds_per_token(self, tokens: int) -> float | None:
        """The mean time of a token after the first; None where there was no second.

        Args:
            tokens: that it has.
        """
        if tokens < 2 or self.first_token_at is None or self.ended_at is None:
            return None
        return (self.ended_at - self.first_token_at) / (tokens - 1)

    @property
    def read(self) -> Sequence[Sequence[int]]:
        """What it reads: its prompt."""
        return (self.prompt,)

    @property
    def most(self) -> int:
        """Most tokens that may be written of it."""
        return self.max_tokens

    @property
    def charged(self) -> int:
        """The tokens that count as written: of one that was given up unheard, as many as it may have had by then."""
        if self.unheard is None or not self.cancelled:
            return self.written
        return self.unheard.most(time.monotonic(), self.max_tokens)

    @property
    def ends(self) -> frozenset[int]:
        """Tokens before which it ends."""
        return self.generation.stop_ids if self.stop_ids is None else self.stop_ids

    @property
    def scores_prompt(self) -> bool:
        """Whether the log-probabilities of the prompt's own tokens are asked for."""
        return self.scored is not None and self.echo is not None

    def text(self) -> TextStream:
        """What makes its text of its tokens, from the first one on."""
        decode = self.generation.tokenizer.decode
        return TextStream(
            lambda ids: str(decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)),
            self.generation.opening or self.prompt,
            self.stop,
            self.generation.unshown,
            begins_at=len(self.echo or ""),
        )
