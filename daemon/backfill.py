"""Files into the store: the same documents, split and dead letters as from Kafka, resumed where they were left."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import ValidationError

from daemon.control import Facts
from daemon.errors import BadRequest, Refused
from daemon.labels import known_labels
from daemon.settings import Settings
from memory.records import Appended
from memory.store import Store
from streams.dead_letters import DeadLetterBudget
from streams.document import Batch
from streams.errors import StreamsError
from streams.files import FileSource
from streams.settings import StreamsSettings, TopicFormat
from streams.splitting import Split

JSON_SUFFIXES = frozenset({".jsonl", ".ndjson", ".json"})

OnProgress = Callable[[str, int], None]
"""Told the path and how many of its (decompressed) bytes have been read."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is read and how.

    Attributes:
        paths: files; `-` for standard input.
        fields: names of a record's fields, as in `streams.settings.TopicFormat`.
        format: json or text; None: by the path's name.
        before_stream: text of the kind that the model was built on.
        how: what one document of a plain text is.
        name: of standard input.
    """

    paths: Sequence[str]
    fields: dict[str, str] = field(default_factory=dict)
    format: str | None = None
    before_stream: bool = False
    how: Split = "paragraph"
    name: str = "stdin"

    def format_of(self, path: str) -> TopicFormat:
        """What a record of `path` is: as asked, else JSON for *.jsonl, *.ndjson and *.json, also gzipped.

        Raises:
            BadRequest: plain text has none of the fields that are named, or a name is empty or too long.
        """
        chosen = self.format or ("json" if JSON_SUFFIXES & set(Path(path).suffixes) else "text")
        named = [_option(name) for name in self.fields if name.endswith("_field")]
        if chosen == "text" and named:
            raise BadRequest(
                f"{path} is read as plain text, which has no fields: leave out {', '.join(named)}, "
                "or say --format json."
            )
        try:
            return TopicFormat.model_validate({"format": chosen, **self.fields})
        except ValidationError as error:
            problems = (f"{_option(str(one['loc'][0]))}: {one['msg']}" for one in error.errors())
            raise BadRequest("; ".join(problems)) from None


def _option(field_name: str) -> str:
    return f"--{field_name.replace('_', '-')}"


@dataclass(slots=True)
class Outcome:
    """What became of the files: totals, and what could not be read."""

    totals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(asdict(Appended()), 0))
    errors: list[str] = field(default_factory=list)

    def add(self, appended: Appended) -> None:
        """Count one batch."""
        for name, number in asdict(appended).items():
            self.totals[name] += number

    def as_facts(self) -> Facts:
        """For `--json`."""
        return {**self.totals, "errors": self.errors}


def backfill(settings: Settings, plan: Plan, on_progress: OnProgress) -> Outcome:
    """Store the files' documents, batch by batch; what is stored already is passed over.

    A daemon may run beside it: the store takes turns. A file that cannot be read to its end is noted, and the
    next one begun.

    Raises:
        BadRequest: the files cannot be read as asked; nothing has been read. Or the text would have no labels, and a
            classifier needs them.
        Refused: the fresh buffer is full, and a round must settle it before the rest can be read. Or too many records
            are no documents. Or the quarantine is full of dead letters that wait for their topic.
        StoreError: the store cannot be opened or written.
    """
    if settings.model.kind == "classifier" and "label_field" not in plan.fields:
        raise BadRequest(
            "A classifier's documents need a label: give JSON, and name the field that holds it with --label-field."
        )
    formats = {path: plan.format_of(path) for path in plan.paths}
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    memory = settings.memory.model_copy(update={"integrity_check": False})
    outcome = Outcome()
    with Store.open(settings.database, memory) as store:
        for path, record in formats.items():
            try:
                for appended, position in _stored(store, settings, plan, path, record):
                    outcome.add(appended)
                    on_progress(path, position)
            except StreamsError as error:
                outcome.errors.append(str(error))
    return outcome


def _stored(
    store: Store, settings: Settings, plan: Plan, path: str, record: TopicFormat
) -> Iterator[tuple[Appended, int]]:
    """Store one file; yields after each batch what became of it, and how far the file has been read."""
    source = FileSource(
        path,
        record,
        store.next_offset,
        settings=settings.streams,
        how=plan.how,
        name=plan.name,
        labels=known_labels(settings),
    )
    with closing(source):
        yield Appended(), source.position
        for batch in source:
            _refuse_when_full(store, settings.streams, before_stream=plan.before_stream)
            _refuse_flood(batch, settings.streams, path)
            appended = store.append(
                batch, before_stream=plan.before_stream, keep_unpublished=settings.streams.dead_letter_topic is not None
            )
            yield appended, source.position


def _refuse_flood(batch: Batch, settings: StreamsSettings, path: str) -> None:
    """Most likely the command names the wrong fields: nothing of the batch is stored, so that it can be mended."""
    (partition,) = batch.next_offsets
    records = len(batch.documents) + len(batch.dead_letters)
    reason = DeadLetterBudget(settings.budget).judge(partition, records, batch.dead_letters, 0.0)
    if reason is None:
        return
    detail = next(letter.detail for letter in batch.dead_letters if letter.reason is reason)
    raise Refused(
        f"{path}: {len(batch.dead_letters):,} of {records:,} records are no documents, mostly {reason} ({detail}). "
        "None of these is stored. Mend the file or the names of its fields and give the same command again: it goes on "
        "where it stopped. Where so many are to be expected, raise streams.budget.max_share."
    )


def _refuse_when_full(store: Store, settings: StreamsSettings, *, before_stream: bool) -> None:
    if not before_stream and store.is_full():
        raise Refused(
            f"The fresh buffer is full ({store.counts().fresh_samples:,} samples). Let a round settle it "
            "(`riverkeep round --wait`), then give the same command again: it goes on where it stopped."
        )
    if settings.dead_letter_topic is not None and store.quarantine_is_full():
        raise Refused(
            f"The quarantine is full of dead letters ({store.counts().quarantine_rows:,}) that wait for the topic "
            f"{settings.dead_letter_topic}. `riverkeep run` sends them there, `riverkeep memory dead-letters drop` "
            "erases them; the same command then goes on where it stopped."
        )
