"""What a backfill reads and how: what is asked for, and where nothing is, what each file looks like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from daemon.errors import BadRequest
from daemon.ingestion.backfill_fields import UNNAMED, Fields, fields_of
from streams.file_kinds import Look
from streams.files.opened_file import STDIN, is_kept, shown_path
from streams.files.splitting import Split
from streams.settings import StreamsSettings
from streams.topic_settings import TopicFormat

JSON_SUFFIXES = frozenset({".jsonl", ".ndjson", ".json", ".jsonlines"})
TEXT_SUFFIXES = frozenset({".txt", ".text", ".md", ".markdown", ".rst", ".log", ".tex"})
TABLE_SUFFIXES = frozenset({".csv", ".tsv"})
# A Kafka topic's longest: what is read is stored under its file's name as under a topic's.
LONGEST_NAME = 249
PATHS_NOTED = 20
GROWS_SECONDS = 60.0
"""A text that was changed within this time may still be written."""


@dataclass(frozen=True, slots=True)
class BackfillPlan:
    """What is read and how.

    Attributes:
        paths: files; `-` for standard input.
        fields: names of a record's fields, as in `streams.topic_settings.TopicFormat`.
        like: the topic whose fields JSON files have where `fields` names none; None: all topics', where they agree.
        format: json or text; None: as each file looks.
        before_stream: text of the kind that the model was built on.
        how: what one document of a plain text is.
        name: of standard input.
        ended: whether files are taken to their last byte, also where they seem to be still written.
        who: asks for it, for the audit log.
    """

    paths: Sequence[str]
    fields: dict[str, str] = field(default_factory=dict)
    like: str | None = None
    format: str | None = None
    before_stream: bool = False
    how: Split = "paragraph"
    name: str = "stdin"
    ended: bool = False
    who: str = "riverkeep backfill"

    def audit_detail(self) -> dict[str, Any]:
        """What the audit log says of it; a pattern may stand for very many files."""
        shown = [shown_path(path) if path != STDIN else self.name for path in self.paths]
        return {"paths": shown[:PATHS_NOTED], "files": len(shown), "before_stream": self.before_stream}

    def formats(self, looks: Mapping[str, Look], streams: StreamsSettings) -> dict[str, TopicFormat]:
        """What a record of each file is.

        Args:
            looks: each file's look, by its path.
            streams: the topics that are read.

        Raises:
            BadRequest: a file can be read as JSON and as text, or as neither; plain text has none of the fields that
                are named, a name is empty or too long, or the topics leave open which fields JSON records have.
        """
        if not self.name.isprintable() or len(self.name) > LONGEST_NAME:
            raise BadRequest(f"--name takes up to {LONGEST_NAME} characters that can be seen, in one line.")
        kinds = {path: self._kind(path, look) for path, look in looks.items()}
        for path, kind in kinds.items():
            self._refuse_fields_of_text(path, kind)
        source = {name: value for name, value in self.fields.items() if name == "source"}
        fields = {**self._json_fields(streams), **source} if "json" in kinds.values() else {}
        return {path: _format(kind, fields if kind == "json" else source) for path, kind in kinds.items()}

    def has_ended(self, path: str, record: TopicFormat, now: float) -> bool:
        """Whether what stands at a file's end without a line's end is taken.

        Of JSON one sees whether an object is whole; of a text that was changed just now one does not.
        """
        if self.ended or not is_kept(path):
            return True
        return record.format == "text" and now - Path(path).stat().st_mtime > GROWS_SECONDS

    def _json_fields(self, streams: StreamsSettings) -> Fields:
        options = {name: value for name, value in self.fields.items() if name.endswith("_field")}
        return {**UNNAMED, **fields_of(streams, options, self.like)}

    def _kind(self, path: str, look: Look) -> str:
        """The format: as asked, else by the file's beginning, which its name must not belie."""
        suffixes = {suffix.lower() for suffix in Path(path).suffixes}
        named_json, named_text = bool(suffixes & JSON_SUFFIXES), bool(suffixes & TEXT_SUFFIXES)
        shown = shown_path(path)
        if look is Look.PARQUET:
            if self.format == "text":
                raise BadRequest(f"{shown} is Parquet, no plain text: leave out --format.")
            return "json"
        if self.format == "text":
            return "text"
        if look.remedy and (self.format or named_json or not named_text):
            raise BadRequest(
                f"{shown} seems to be {look}; what is read is an object on each line. {look.remedy} makes that of it"
                f"{'' if self.format or named_json else '; --format text reads it as it stands'}."
            )
        if self.format == "json" or named_json:
            return "json"
        if not named_text:
            _refuse_markup_and_tables(shown, look, suffixes)
        if look in (Look.TEXT, Look.MARKUP):
            return "text"
        if look is Look.JSON_LINES and not named_text:
            return "json"
        raise BadRequest(f"{shown} seems to be {look}: say --format json or --format text.")

    def _refuse_fields_of_text(self, path: str, kind: str) -> None:
        options = [_option(name) for name in self.fields if name.endswith("_field")]
        if options and kind == "text":
            raise BadRequest(
                f"{shown_path(path)} is read as plain text, which has no fields: leave out {', '.join(options)}, "
                "or say --format json."
            )


def _refuse_markup_and_tables(shown: str, look: Look, suffixes: set[str]) -> None:
    """What would be read as it stands, with everything in it that is no text.

    Raises:
        BadRequest: it is such a thing.
    """
    otherwise = "or say --format text, which reads it as it stands."
    if look is Look.MARKUP:
        raise BadRequest(f"{shown} seems to be {look}: take its text out first (`pandoc -t plain`), {otherwise}")
    if look is Look.TEXT and suffixes & TABLE_SUFFIXES:
        remedy = "make JSON lines of its rows first (`mlr --icsv --ojsonl cat`; of tabs --itsv)"
        raise BadRequest(f"{shown} is named a table of values: {remedy}, {otherwise}")


def _format(kind: str, fields: Mapping[str, str]) -> TopicFormat:
    try:
        return TopicFormat.model_validate({"format": kind, **fields})
    except ValidationError as error:
        problems = (f"{_option(str(problem['loc'][0]))}: {problem['msg']}" for problem in error.errors())
        raise BadRequest("; ".join(problems)) from None


def _option(field_name: str) -> str:
    return f"--{field_name.replace('_', '-')}"
