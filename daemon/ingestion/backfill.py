"""Files into the store: the same documents, split and dead letters as from Kafka, resumed where they were left."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from daemon.errors import BadRequest, Refused
from daemon.held_out_keys import ask_for_held_out
from daemon.ingestion.backfill_fields import Fields
from daemon.ingestion.backfill_plan import BackfillPlan
from daemon.lifecycle.lock import make_state_dir
from daemon.settings.records import record_needs
from daemon.settings.tree import Settings
from daemon.skills import keep_skills_out
from memory.intake.records import Appended
from memory.store import Store
from streams.dead_letter_flood import HARMLESS, DeadLetterBudget
from streams.document import Batch, DeadLetter, Reason
from streams.errors import StreamsError, UnreadableFile
from streams.file_kinds import Look
from streams.files.opened_file import OpenedFile, is_kept, shown_path
from streams.files.source import FileSource
from streams.settings import StreamsSettings
from streams.topic_settings import FIELDS, TopicFormat

OnProgress = Callable[[str, int], None]
"""Told the path and how many bytes of its text (rows of Parquet) have been read."""
OnFields = Callable[[Fields], None]
"""Told which fields of JSON records mean what, before anything is read; not called where no file has any."""


@dataclass(slots=True)
class BackfillOutcome:
    """What became of the files.

    Attributes:
        fields: which fields of JSON records meant what; empty where no file has any.
        totals: what became of the records.
        without_key: documents that tell nobody as theirs.
        waiting: bytes at the ends of files that wait, as what they belong to may still be written.
        errors: what could not be read.
        noted: whether the audit log has a line of it: from the first batch on.
    """

    fields: Fields = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(asdict(Appended()), 0))
    without_key: int = 0
    waiting: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    noted: bool = False

    def add(self, appended: Appended) -> None:
        """Count one batch."""
        for name, number in asdict(appended).items():
            self.totals[name] += number

    def as_facts(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            **self.totals,
            "fields": self.fields,
            "without_key": self.without_key,
            "waiting": self.waiting,
            "errors": self.errors,
        }


def backfill(
    settings: Settings,
    plan: BackfillPlan,
    on_progress: OnProgress,
    on_fields: OnFields = lambda _: None,
    clock: Callable[[], float] = time.time,
) -> BackfillOutcome:
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
    outcome = BackfillOutcome()
    with ExitStack() as stack:
        looks = _look_at(plan, outcome, stack)
        formats = plan.formats({path: file.look for path, file in looks.items()}, settings.streams)
        _tell_fields(formats, outcome, on_fields)
        if settings.model.kind == "classifier" and not all(record.label_field for record in formats.values()):
            raise BadRequest(
                "A classifier's documents need a label: give JSON, and name the field that holds it with --label-field."
            )
        if settings.model.kind == "seq2seq" and any(record.format == "text" for record in formats.values()):
            raise BadRequest(
                "A sequence-to-sequence model learns from an input and its target, which plain text has no fields for: "
                "give JSON, and name the fields with --input-field and --target-field where they are called otherwise."
            )
        make_state_dir(settings.state_dir)
        # The daemon looks through the whole file when it starts: a command need not do so again.
        memory = settings.memory.model_copy(update={"integrity_check": False})
        store = stack.enter_context(Store.open(settings.database, memory))
        # Most text from before the stream comes before any daemon.
        ask_for_held_out(store, settings)
        keep_skills_out(store, settings)
        run = _Run(settings, plan, store, outcome, on_progress, clock)
        for path, record in formats.items():
            try:
                run.store_file(OpenedFile(path) if is_kept(path) else looks[path], path, record)
            except StreamsError as error:
                outcome.errors.append(str(error))
    return outcome


def _look_at(plan: BackfillPlan, outcome: BackfillOutcome, stack: ExitStack) -> dict[str, OpenedFile]:
    """Each file that can be opened, with its look. Standard input and pipes stay open: they can be read once."""
    files = {}
    for path in dict.fromkeys(plan.paths):
        try:
            files[path] = OpenedFile(path, name=plan.name)
        except UnreadableFile as error:
            outcome.errors.append(str(error))
            continue
        if is_kept(path):
            files[path].close()
        else:
            stack.enter_context(files[path])
    return files


def _tell_fields(formats: dict[str, TopicFormat], outcome: BackfillOutcome, on_fields: OnFields) -> None:
    record = next((record for record in formats.values() if record.format == "json"), None)
    if record is not None:
        outcome.fields = {name: value for name in FIELDS if (value := getattr(record, name)) is not None}
        on_fields(outcome.fields)


@dataclass(frozen=True, slots=True)
class _Run:
    """One call of `backfill`."""

    settings: Settings
    plan: BackfillPlan
    store: Store
    outcome: BackfillOutcome
    on_progress: OnProgress
    clock: Callable[[], float]

    def store_file(self, file: OpenedFile, path: str, record: TopicFormat) -> None:
        """Store one file's documents, and note what became of them.

        Raises:
            StreamsError: it cannot be read to its end, or not one document is in it.
        """
        source = FileSource(
            file,
            record,
            lambda topic: self.store.offsets_of(topic, 0),
            settings=self.settings.streams,
            how=self.plan.how,
            ended=self.plan.has_ended(path, record, self.clock()),
            needs=record_needs(self.settings),
        )
        documents = 0
        letters: list[DeadLetter] = []
        with source:
            self.on_progress(path, source.position)
            for batch in source:
                self._store_batch(batch, path)
                documents += len(batch.documents)
                # Only the first is kept, for the message: there may be as many as records.
                letters += [letter for letter in batch.dead_letters if letter.reason not in HARMLESS][: not letters]
                self.on_progress(path, source.position)
            if source.waiting:
                self.outcome.waiting[shown_path(path)] = source.waiting
        # Some dead letters beside documents are normal. None but them means that the file is something else.
        if letters and not documents:
            raise UnreadableFile(
                f"Nothing of {file.shown} could be read; its first record: {letters[0].reason} ({letters[0].detail}). "
                f"{_remedy(letters[0], file.look)}"
            )

    def _store_batch(self, batch: Batch, path: str) -> None:
        streams, outcome = self.settings.streams, self.outcome
        _refuse_when_full(self.store, streams, before_stream=self.plan.before_stream)
        _refuse_flood(batch, streams, path)
        # Not before there is something: a file that grows may be given every minute, mostly for nothing.
        if not outcome.noted:
            outcome.noted = True
            self.store.audit.note("backfill", self.plan.audit_detail(), who=self.plan.who)
        keep = streams.dead_letter_topic is not None
        outcome.add(self.store.append(batch, before_stream=self.plan.before_stream, keep_unpublished=keep))
        outcome.without_key += sum(document.key is None for document in batch.documents)


def _remedy(letter: DeadLetter, look: Look) -> str:
    if letter.reason is Reason.NOT_UTF8:
        return "It is in another encoding: `iconv -f WINDOWS-1252 -t UTF-8` makes UTF-8 of one of Western Europe's"
    return f"The file looks like {look}: mend it, or say with --format and the names of fields what it is"


def _refuse_flood(batch: Batch, settings: StreamsSettings, path: str) -> None:
    """Most likely the command names the wrong fields: nothing of the batch is stored, so that it can be mended."""
    # A file is one partition.
    (partition,) = batch.next_offsets
    records = len(batch.documents) + len(batch.dead_letters)
    # Each batch is judged by itself, as it is stored or refused as a whole.
    reason = DeadLetterBudget(settings.budget).judge(partition, records, batch.dead_letters, 0.0)
    if reason is None:
        return
    detail = next(letter.detail for letter in batch.dead_letters if letter.reason is reason)
    raise Refused(
        f"{shown_path(path)}: {len(batch.dead_letters):,} of {records:,} records are no documents, mostly {reason} "
        f"({detail}). None of these is stored. Mend the file or the names of its fields and give the same command "
        "again: it goes on where it stopped. Where so many are to be expected, raise streams.budget.max_share."
    )


def _refuse_when_full(store: Store, settings: StreamsSettings, *, before_stream: bool) -> None:
    if not before_stream and store.is_full():
        raise Refused(
            f"The fresh buffer is full ({store.counts().fresh_samples:,} samples). Let a round settle it "
            "(`riverkeep round begin --wait`), then give the same command again: it goes on where it stopped."
        )
    if settings.dead_letter_topic is not None and store.quarantine.is_full():
        raise Refused(
            f"The quarantine is full of dead letters ({store.counts().quarantine_rows:,}) that wait for the topic "
            f"{settings.dead_letter_topic}. `riverkeep run` sends them there, `riverkeep memory dead-letters drop` "
            "erases them; the same command then goes on where it stopped."
        )
