"""Where answers get their ids, and what is said of them is taken in."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from serving.errors import CannotServe, NotReady, RequestError
from serving.feedback.answer_ids import KEY_BYTES, AnswerIds, AnswerOrigin, key_in
from serving.feedback.settings import FeedbackSettings
from serving.feedback.spool import Feedback, Spool, Verdict

_log = structlog.get_logger(__name__)

LONGEST_CHARACTERS: Final = 64 * 1024
"""Of one request with its answer, and of a correction: more is not kept."""
MOST_CHARACTERS: Final = 64 * 1024 * 1024
"""Of all requests and answers at hand."""
LONGEST_USER: Final = 1024
UNTIL_STARTED_AGAIN_S: Final = 60
"""Where the directory could not be used at the start: somebody has to see to that first."""

Messages = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """A request and its answer.

    Attributes:
        messages: what was asked, see `Feedback`.
        user: who asked, as the client named them.
        text: of the answer.
    """

    messages: Messages
    user: str | None
    text: str

    @property
    def characters(self) -> int:
        """Of it all."""
        return len(self.text) + sum(len(content) for _, content in self.messages)


@dataclass(frozen=True, slots=True)
class Said:
    """What a client says of an answer.

    Attributes:
        answer: its id.
        verdict: of it.
        correction: what it should have been; of a text its label, or all labels that fit.
        user: who says so.
        giver: the name of the API key that it came by.
    """

    answer: str
    verdict: Verdict
    correction: str | tuple[str, ...] | None
    user: str | None
    giver: str


class AnswerRegister:
    """Names answers, keeps the text of the latest where it may, and writes down what is said. From any thread.

    Args:
        directory: where it is written, made where it is not there; None: nowhere, and no feedback is taken.
        settings: whether text is kept.
        clock: unix seconds.
    """

    def __init__(
        self, directory: Path | None, settings: FeedbackSettings, clock: Callable[[], float] = time.time
    ) -> None:
        self._clock = clock
        self._most = settings.answers_kept if settings.keep_text and directory is not None else 0
        self._kept: OrderedDict[str, KeptAnswer] = OrderedDict()
        self._characters = 0
        self._has_place = directory is not None
        self._spool: Spool | None = None
        key = secrets.token_bytes(KEY_BYTES)
        if directory is not None:
            # Answers do not wait for what is said of them: without a directory serving goes on.
            try:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                key, self._spool = key_in(directory), Spool(directory)
            except (OSError, CannotServe) as error:
                _log.error("feedback_not_taken", directory=str(directory), error=str(error))
        self._ids = AnswerIds(key)

    def new_id(self, generation: int, group: int | None) -> str:
        """An id for an answer of a generation to one of this group of callers, without a prefix; see `AnswerOrigin`."""
        return self._ids.new(generation, int(self._clock()), group)

    @property
    def keeps_text(self) -> bool:
        """Whether requests and answers are to be handed to `keep`."""
        return self._most > 0

    def keep(self, answer: str, kept: KeptAnswer) -> None:
        """Have an answer at hand for what is said of it; the oldest make room."""
        if not self.keeps_text or kept.characters > LONGEST_CHARACTERS:
            return
        self._kept[answer] = kept
        self._characters += kept.characters
        while len(self._kept) > self._most or self._characters > MOST_CHARACTERS:
            _, oldest = self._kept.popitem(last=False)
            self._characters -= oldest.characters

    def take(self, said: Said) -> AnswerOrigin:
        """Write down what is said of an answer; durable when this returns. Blocks for a write to disk.

        Raises:
            RequestError: 404 where no feedback is taken at all, and for an id that was given to no answer; 413 for a
                correction that is too long.
            NotReady: it cannot be written down now.
        """
        if not self._has_place:
            # Not a 5xx, which clients send again and again.
            why = "no feedback is taken here: this server has no state directory in which it would be kept"
            raise RequestError(why, status=404, code="feedback_not_taken")
        if self._spool is None:
            why = "no feedback is taken until this server is started again; its log says why"
            raise NotReady(why, UNTIL_STARTED_AGAIN_S)
        origin = self._ids.origin(said.answer)
        if origin is None:
            raise RequestError(
                "there is no answer of this id from this server", status=404, code="answer_not_found", param="id"
            )
        if sum(map(len, said.correction or ())) > LONGEST_CHARACTERS:
            why = f"correction: at most {LONGEST_CHARACTERS} characters"
            raise RequestError(why, status=413, code="correction_too_long", param="correction")
        try:
            self._spool.append(self._feedback(said, origin))
        except OSError as error:
            _log.error("feedback_not_written", error=str(error))
            raise NotReady("feedback cannot be written down now; the server's log says why") from error
        return origin

    def _feedback(self, said: Said, origin: AnswerOrigin) -> Feedback:
        kept = self._kept.get(said.answer)
        return Feedback(
            answer=said.answer,
            giver=said.giver,
            user=said.user or (None if kept is None else kept.user),
            verdict=said.verdict,
            generation=origin.generation,
            answered_at=origin.at,
            group=origin.group,
            given_at=self._clock(),
            messages=None if kept is None else kept.messages,
            text=None if kept is None else kept.text,
            correction=said.correction if self.keeps_text else None,
            corrected=said.correction is not None,
        )


def answer_keeper(
    register: AnswerRegister, answer: str, messages: Messages, user: object
) -> Callable[[Sequence[str]], None]:
    """What is to be told the texts of an answer once it is whole; of several it is not known which is meant."""
    named = user if isinstance(user, str) and 0 < len(user) <= LONGEST_USER and "\0" not in user else None

    def keep(texts: Sequence[str]) -> None:
        if len(texts) == 1:
            register.keep(answer, KeptAnswer(messages, named, texts[0]))

    return keep
