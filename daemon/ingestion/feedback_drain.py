"""What people said of answers, from where serving wrote it down into the memory: each once, killed or not."""

import itertools
from collections.abc import Callable, Iterable
from typing import Final

import orjson
import structlog

from daemon.lifecycle.supervised_threads import Part, State
from daemon.settings.records import record_needs
from daemon.settings.tree import Settings
from memory.store import Store
from serving.feedback.spool import PROMPT, Feedback, take, taking_away
from streams.chats import ASSISTANT, BETWEEN, INPUT, TARGET
from streams.decoding.decode import Decoder
from streams.decoding.several_labels import write_set
from streams.document import CORRECTIONS, Batch, Document, Opinion
from streams.topic_settings import TopicFormat

log = structlog.get_logger(__name__)

SOURCE: Final = "feedback"
"""Of the documents that corrections become: they have slices of their own."""
PARTITION: Final = CORRECTIONS
AT_ONCE: Final = 200
LOOK_EVERY_SECONDS: Final = 2.0
LEARNED: Final = "yes"
WITHOUT_TEXT: Final = "no_text"
NO_COMPLETIONS: Final = "not_learned_from"
LEARNS_FROM: Final = frozenset({"causal-lm", "seq2seq", "classifier"})
LABEL: Final = "label"


class FeedbackDesk:
    """Drains the spool, every few seconds. `run` is the target of a part.

    Args:
        settings: as they are now.
        store: where it goes.
        clock: unix seconds.
    """

    def __init__(self, settings: Callable[[], Settings], store: Store, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._store = store
        self._clock = clock

    def run(self, part: Part) -> None:
        """The loop."""
        part.says(State.RUNNING)
        while not part.stop.is_set():
            part.beat()
            settings = self._settings()
            if self._store.is_full():
                part.says(State.WAITING, "the fresh buffer is full: feedback waits until a round settles it")
            else:
                part.says(State.RUNNING)
                drain_feedback(settings, self._store, self._clock)
            part.stop.wait(LOOK_EVERY_SECONDS)


def drain_feedback(settings: Settings, store: Store, clock: Callable[[], float]) -> int:
    """Store all that waits, and remove it where serving wrote it; returns how many lines that were.

    Raises:
        StoreError: it cannot be stored; what is left waits on.
        OSError: what waits cannot be read or removed.
    """
    directory = settings.feedback_dir
    if not directory.is_dir():
        return 0
    stored = 0
    with taking_away(directory):
        while (taken := take(directory, _next_offset(store))) is not None:
            maker = _Maker(settings, clock())
            for lines in _batches(taken.lines()):
                store.append(maker.batch(lines))
                stored += len(lines)
            taken.remove()
    if stored:
        log.info("feedback_stored", opinions=stored)
    return stored


def _batches(lines: Iterable[tuple[int, Feedback | None]]) -> Iterable[list[tuple[int, Feedback | None]]]:
    # itertools.batched is of Python 3.12.
    waiting = iter(lines)
    while batch := list(itertools.islice(waiting, AT_ONCE)):
        yield batch


def _next_offset(store: Store) -> int:
    return store.next_offset(PARTITION.topic, PARTITION.number) or 0


class _Maker:
    """Makes batches of what was said.

    Args:
        settings: what the model learns from.
        now: unix seconds.
    """

    def __init__(self, settings: Settings, now: float) -> None:
        self._kind = settings.model.kind
        self._now = now
        self._decoder = Decoder(
            TopicFormat(label_field=LABEL if self._kind == "classifier" else None),
            SOURCE,
            needs=record_needs(settings),
            filters=settings.streams.filters,
            max_record_bytes=settings.streams.max_record_bytes,
        )

    def batch(self, lines: Iterable[tuple[int, Feedback | None]]) -> Batch:
        """Opinions and the documents that their corrections make; the lines' numbers are the offsets."""
        opinions, documents, end = [], [], 0
        for offset, said in lines:
            end = offset + 1
            # Its sender was never told that it was taken.
            if said is None:
                continue
            document = self._document(said, offset) if said.corrected else None
            if isinstance(document, Document):
                documents.append(document)
            opinions.append(_opinion(said, offset, LEARNED if isinstance(document, Document) else document))
        return Batch(tuple(documents), (), (), {PARTITION: end}, opinions=tuple(opinions))

    def _document(self, said: Feedback, offset: int) -> Document | str:
        """What a correction teaches, or why it teaches nothing."""
        if self._kind not in LEARNS_FROM:
            return NO_COMPLETIONS
        if said.messages is None or said.correction is None:
            return WITHOUT_TEXT
        record = orjson.dumps(self._record(said.messages, said.correction))
        key = said.user.encode() if said.user else None
        found = self._decoder.decode(record, key, float(said.answered_at), PARTITION, offset, self._now)
        return found if isinstance(found, Document) else str(found[0])

    def _record(self, messages: tuple[tuple[str, str], ...], correction: str | tuple[str, ...]) -> dict[str, object]:
        if self._kind == "classifier":
            return {"text": messages[0][1], LABEL: correction}
        # Labels of a model that was a classifier when they came.
        if not isinstance(correction, str):
            correction = write_set(correction)
        if self._kind == "seq2seq":
            return {INPUT: messages[0][1], TARGET: correction}
        if messages[0][0] == PROMPT:
            return {"text": messages[0][1] + correction}
        said = [{"role": role, "content": content} for role, content in (*messages, (ASSISTANT, correction))]
        return {"messages": said}


def _opinion(said: Feedback, offset: int, learned: str | None) -> Opinion:
    return Opinion(
        partition=PARTITION,
        offset=offset,
        answer=said.answer,
        giver=said.giver,
        key=said.user,
        verdict=said.verdict,
        generation=said.generation,
        answered_at=said.answered_at,
        given_at=said.given_at,
        group=said.group,
        corrected=said.corrected,
        learned=learned,
        prompt=None if said.messages is None else BETWEEN.join(content for _, content in said.messages),
        text=said.text,
        correction=write_set(said.correction) if isinstance(said.correction, tuple) else said.correction,
    )
