"""Files into the store: the same documents, split and dead letters as from Kafka, resumed where they were left."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import ValidationError

from daemon.backfill_fields import UNNAMED, Fields, fields_of
from daemon.control import Facts
from daemon.errors import BadRequest, Refused
from daemon.labels import known_labels
from daemon.lock import make_state_dir
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
        like: the topic whose fields JSON files have where `fields` names none; None: all topics', where they agree.
        format: json or text; None: by the path's name.
        before_stream: text of the kind that the model was built on.
        how: what one document of a plain text is.
        name: of standard input.
    """

    paths: Sequence[str]
    fields: dict[str, str] = field(default_factory=dict)
    like: str | None = None
    format: str | None = None
    before_stream: bool = False
    how: Split = "paragraph"
    name: str = "stdin"

    def is_json(self, path: str) -> bool:
        """Whether `path` has JSON records: as asked, else by its name (*.jsonl, *.ndjson and *.json, also gzipped)."""
        if self.format is not None:
            return self.format == "json"
        return bool(JSON_SUFFIXES & set(Path(path).suffixes))

    def formats(self, streams: StreamsSettings) -> dict[str, TopicFormat]:
        """What a record of each path is.

        Raises:
            BadRequest: plain text has none of the fields that are named, a name is empty or too long, or the topics
                leave open which fields JSON records have.
        """
        for path in self.paths:
            self._refuse_fields_of_text(path)
        source = {name: value for name, value in self.fields.items() if name == "source"}
        fields = {**self.json_fields(streams), **source}
        return {path: _format("json", fields) if self.is_json(path) else _format("text", source) for path in self.paths}

    def json_fields(self, streams: StreamsSettings) -> Fields:
        """Which fields of JSON records mean what; empty where no path has any. Raises BadRequest as `formats`."""
        if not any(map(self.is_json, self.paths)):
            return {}
        named = {name: value for name, value in self.fields.items() if name.endswith("_field")}
        return {**UNNAMED, **fields_of(streams, named, self.like)}

    def _refuse_fields_of_text(self, path: str) -> None:
        named = [_option(name) for name in self.fields if name.endswith("_field")]
        if named and not self.is_json(path):
            raise BadRequest(
                f"{path} is read as plain text, which has no fields: leave out {', '.join(named)}, "
                "or say --format json."
            )


def _format(kind: str, fields: Mapping[str, str]) -> TopicFormat:
    try:
        return TopicFormat.model_validate({"format": kind, **fields})
    except ValidationError as error:
        problems = (f"{_option(str(one['loc'][0]))}: {one['msg']}" for one in error.errors())
        raise BadRequest("; ".join(problems)) from None


def _option(field_name: str) -> str:
    return f"--{field_name.replace('_', '-')}"


@dataclass(slots=True)
class Outcome:
    """What became of the files.

    Attributes:
        fields: which fields of JSON records meant what; empty where no file has any.
        totals: what became of the records.
        without_key: documents that tell nobody as theirs.
        errors: what could not be read.
    """

    fields: Fields = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(asdict(Appended()), 0))
    without_key: int = 0
    errors: list[str] = field(default_factory=list)

    def add(self, appended: Appended) -> None:
        """Count one batch."""
        for name, number in asdict(appended).items():
            self.totals[name] += number

    def as_facts(self) -> Facts:
        """For `--json`."""
        return {**self.totals, "fields": self.fields, "without_key": self.without_key, "errors": self.errors}


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
    formats = plan.formats(settings.streams)
    if settings.model.kind == "classifier" and not all(record.label_field for record in formats.values()):
        raise BadRequest(
            "A classifier's documents need a label: give JSON, and name the field that holds it with --label-field."
        )
    make_state_dir(settings.state_dir)
    memory = settings.memory.model_copy(update={"integrity_check": False})
    outcome = Outcome(plan.json_fields(settings.streams))
    with Store.open(settings.database, memory) as store:
        for path, record in formats.items():
            try:
                for appended, without_key, position in _stored(store, settings, plan, path, record):
                    outcome.add(appended)
                    outcome.without_key += without_key
                    on_progress(path, position)
            except StreamsError as error:
                outcome.errors.append(str(error))
    return outcome


def _stored(
    store: Store, settings: Settings, plan: Plan, path: str, record: TopicFormat
) -> Iterator[tuple[Appended, int, int]]:
    """Store one file; yields after each batch what became of it, how many had no key, and how far it has been read."""
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
        yield Appended(), 0, source.position
        for batch in source:
            _refuse_when_full(store, settings.streams, before_stream=plan.before_stream)
            _refuse_flood(batch, settings.streams, path)
            appended = store.append(
                batch, before_stream=plan.before_stream, keep_unpublished=settings.streams.dead_letter_topic is not None
            )
            yield appended, sum(one.key is None for one in batch.documents), source.position


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
