"""The page of files and formats, read off the types that are written, and off the names that the code writes them by.

python -m tests.docs.files_page > docs/files.md
"""

import dataclasses
import inspect
import json
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

from checkpoints import document_frame, sequence_length
from checkpoints.adapters.ground import Ground
from checkpoints.card import CARD, Card, DataRange
from checkpoints.document_frame import DocumentFrame
from checkpoints.files import model_files
from checkpoints.json_files import AsRow, Figure
from checkpoints.manifest import MANIFEST, ListedFile, Manifest
from checkpoints.probe import reference_answer
from checkpoints.probe.reference_answer import ReferenceAnswer
from checkpoints.removed_numbers import RemovedNumbers
from checkpoints.sequence_length import SequenceLength
from checkpoints.serving_pointer import Canary, Pointer
from daemon import naive_twin
from daemon.admin import token
from daemon.lifecycle import lock
from daemon.lifecycle.lock import Holder
from daemon.rounds.cut_off import going_on
from daemon.rounds.record import DRAW, VERDICT, RoundRecord
from daemon.settings.tree import Settings
from learner.directory import kept_candidates, round_directory, round_skills, saved_round, trained_result
from learner.directory.harm_bounds import HarmBound
from learner.directory.kept_candidates import KeptCandidates
from learner.directory.known_scores import HeldOutScores
from learner.directory.progress_event import ProgressEvent
from learner.directory.report import PrequentialDocument, Report, SliceScores, StoppedCandidate, TrainingSummary
from learner.directory.round_directory import GenerationRef, RoundSample, RoundSpec
from learner.directory.slice_list import SliceFile
from memory.ledger.scorings import Scoring
from serving.feedback import answer_ids, spool
from serving.feedback.spool import Feedback
from streams.document import DeadLetter, Partition, Reason
from streams.kafka.publisher import headers
from streams.topic_settings import FIELDS, TopicFormat
from tests.docs.json_page import meanings

INTRODUCTION: Final = """# Files and formats

What lies in the state directory, what of it others may read, and what comes in and goes out as a file or as a record.
JSON is UTF-8; times are unix seconds; digests are SHA-256 in hexadecimal. A round and its report name their `format`:
what another version wrote in another one is refused by name and not guessed at. What to do when a file is lost stands
in [operations](operations.md#what-is-kept-and-where).

This page is made by `python -m tests.docs.files_page` of the types that are written.
"""
ABOUT: Final[Mapping[str, str]] = {
    "The state directory": """\
One daemon holds it. `N` stands for digits, `*` for any name; what ends in `/` is a directory. What is not in a backup
is made again, or is of no use without its process ([backup](operations.md#backup)).
""",
    "A generation": """\
`checkpoints/generations/000007`: never changed once it is there under its number, which is never used again. A
directory that `save_pretrained` could have written, with a few files more; whoever loads models loads it, of an adapter
with peft. What only rounds need lies in `importance/`, where nobody looks for weights. The `digest` in the manifest is
that of a list that your shell can make too, in the generation's directory:

```sh
find . -type f ! -name manifest.json -printf '%P\\n' | LC_ALL=C sort | xargs -d '\\n' sha256sum | sha256sum
```

`riverkeep export 7 PATH` writes such a directory of generation 7 that needs no other: the top level alone, without card
and manifest, an adapter merged into what it lies on.
""",
    "A round": """\
`rounds/000007`: `python -m learner rounds/000007` runs it, here or on another machine, and on a CPU comes to the same
weights. What goes in stands first, then what comes out. Losses are in nats, sums over the scored tokens.
""",
}
RECORDS: Final = """\
A record of a topic is a JSON object, or with `format = "text"` the text itself; so is a line of a file that
`riverkeep backfill` reads. These settings of a topic name its fields; [what is read](records.md) says what each kind of
model needs.
"""
DEAD_LETTERS: Final = """\
What cannot be understood is kept as a dead letter, and with `streams.dead_letter_topic` sent there too: with its own
key, value and headers, and behind those, as Kafka Connect tells of dead letters (KIP-298):
"""
ELSEWHERE: Final = """\
## Files of your own

| file | where it is told of |
|---|---|
| settings, `riverkeep.toml` | [every setting](settings.md); its schema: `riverkeep config schema` |
| API keys, `serving.api_key_file` | [API keys](keys.md) |
| skills, `file` under `[[evaluation.skills]]` | [skills](skills.md) |
| text from before the stream | [what is read](records.md#files) |
| what commands print with `--json` | [JSON](json.md) |
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """A file, or all files that are called so.

    Attributes:
        name: its path; `N` stands for digits, `*` for any name, and what ends in `/` for all that is below.
        what: it is.
        backed_up: it is part of a backup.
    """

    name: str
    what: str
    backed_up: bool = False

    def matches(self, path: str) -> bool:
        """Whether a path below the same directory is this one."""
        pattern = re.escape(self.name).replace(r"\*", "[^/]+").replace("N", r"\d+")
        return re.fullmatch(f"{pattern}.*" if self.name.endswith("/") else pattern, path) is not None


_PLACES: Final = Settings.model_validate({"model": {"path": "model"}, "state_dir": "state"})


def _below_state(path: Path) -> str:
    return path.relative_to(_PLACES.state_dir).as_posix()


DATABASE: Final = _below_state(_PLACES.database)
CHECKPOINTS: Final = _below_state(_PLACES.checkpoints_dir)
FEEDBACK: Final = _below_state(_PLACES.feedback_dir)
STATE_DIRECTORY: Final = (
    Kept(DATABASE, "the memory, a SQLite database: samples, offsets, the ledger, the audit log. Its tables are "
         "Riverkeep's own and change with versions: ask with `--json` instead", backed_up=True),
    Kept(f"{DATABASE}-*", "SQLite's log of it, `-wal` and `-shm`: part of it while anybody has it open"),
    Kept(f"{CHECKPOINTS}/serving.json", "[which generation serves](#pointer), for whoever follows: `riverkeep serve`, "
         "scripts of your own", backed_up=True),
    Kept(f"{CHECKPOINTS}/removed.json", "[the highest number](#removednumbers) of a generation that was removed",
         backed_up=True),
    Kept(f"{CHECKPOINTS}/generations/N/", "[a generation](#a-generation), six digits", backed_up=True),
    Kept(f"{_below_state(_PLACES.rounds_dir)}/N/", "[a round](#a-round), of the latest `lifecycle.rounds_kept`"),
    Kept(f"{FEEDBACK}/{answer_ids.KEY_NAME}", "the key that ids of answers are signed with", backed_up=True),
    Kept(f"{FEEDBACK}/{spool.OPEN_NAME}", "[words on answers](#feedback), one a line, until the memory has them",
         backed_up=True),
    Kept(f"{FEEDBACK}/taken-N.jsonl", "the same, while the memory takes them", backed_up=True),
    Kept(_below_state(_PLACES.key_usage), "tokens that each API key took today: `day` and `tokens` by name",
         backed_up=True),
    Kept(token.FILE_NAME, "the admin token, where `admin.token_file` names no other file", backed_up=True),
    Kept("replica.id", "a random name, by which replicas that share a consumer group are told apart", backed_up=True),
    Kept(lock.FILE_NAME, "[who holds this directory](#holder); the lock ends with that process, and the file stays"),
    Kept(naive_twin.FILE_NAME, "what the demo's naive twin forgot, by round"),
    Kept("compiled/", "compiled layers (`learner.compile`)"),
)  # fmt: skip
GENERATION: Final = (
    Kept("*.safetensors", "the weights, as `save_pretrained` writes them; of a large model in several files, with "
         "`model.safetensors.index.json`"),
    Kept(CARD, "[where it comes from](#card) and how it did"),
    Kept(MANIFEST, "[what its files must be](#manifest)"),
    Kept(document_frame.FRAME_FILE, "[which tokens stand around a document](#documentframe), of a causal model"),
    Kept(sequence_length.LENGTH_FILE, "[how long sequences are](#sequencelength), where the recipe leaves that open"),
    Kept(reference_answer.REFERENCE_FILE, "[what it answers to a fixed prompt](#referenceanswer), of a causal language "
         "model: other engines are held to it"),
    Kept(round_directory.IMPORTANCE, "how much each weight matters, where the recipe asks for that"),
    Kept(round_directory.RESIDUALS, "what rounding cut off of each weight, one byte a weight"),
    Kept(round_directory.MOMENTS, "the optimizer's moments, two bytes a weight, which the next round begins with"),
    Kept(model_files.GROUND_FILE, "of an adapter: [what it lies on](#ground)"),
    Kept(model_files.ADAPTER_CONFIG, "of an adapter: its settings, in peft's format"),
    Kept("*.json", "the model's and the tokenizer's own, as `save_pretrained` writes them"),
    Kept("*.*", "whatever else the model came with of "
         + ", ".join(f"`{suffix}`" for suffix in sorted(model_files.KEPT_SUFFIXES - {".json", ".safetensors"}))),
)  # fmt: skip
ROUND: Final = (
    Kept(round_directory.ROUND, "[what to do](#roundspec): written last of what goes in, so that all else is there"),
    Kept(f"{round_directory.PARENT}/", "the parent, as hard links; of an adapter with its ground in `ground/`"),
    Kept(f"{round_directory.BASE}/", "the base, likewise"),
    Kept(f"{round_directory.BEST}/", "a third one, best on older text, that is scored again; in few rounds"),
    Kept(round_directory.FRESH, "[new samples](#roundsample), one a line, in the order in which they are trained on"),
    Kept(round_directory.REPLAY, "[replayed samples](#roundsample)"),
    Kept(round_directory.EARLY_STOP, "[samples](#roundsample) that say when to stop; never those of the gate"),
    Kept(round_directory.SLICES, "[the held-out slices](#slicefile)"),
    Kept("slices/N.jsonl", "[their samples](#roundsample)"),
    Kept(round_directory.KNOWN_SCORES, "[scores](#heldoutscores) of held-out text that earlier rounds took"),
    Kept(f"{round_skills.SKILLS}/N.jsonl", "prompts with expected answers, as in [the skills' files](skills.md)"),
    Kept(round_skills.KNOWN_SKILLS, "what parent and base were found to answer rightly"),
    Kept(f"{kept_candidates.KEPT}/", "candidates that an earlier round trained, to be judged once more; in few rounds"),
    Kept(DRAW, "[the daemon's note](#roundrecord) of what was drawn, and of the slices that it is judged by"),
    Kept(going_on.NOTE, "how often the round went on after its learner was cut off"),
    Kept(f"{saved_round.SAVED}/", "of a round under way: where it stands, and its tensors, from which it goes on"),
    Kept(round_directory.PROGRESS, "out: [what the learner told](#progressevent), one a line, printed by it too"),
    Kept(f"{trained_result.RESULT}/", "out: what each candidate can be written from"),
    Kept(f"{round_directory.CANDIDATES}/*/", "out: a whole model, named by the parent's share in it: the chosen one, "
         "the only one, or of adapters each"),
    Kept(round_directory.REPORT, "out: [what was found](#report), written last: with it the learner has ended"),
    Kept(kept_candidates.LIST, "out: that its candidates are kept, and [what their files must be](#keptcandidates)"),
    Kept(VERDICT, "out: what the gate said; `riverkeep explain round N` says it in words"),
    Kept("learner.log", "out: the last 64 KiB of what the learner printed on standard error"),
    Kept("writer.log", "out: the same of the process that wrote the chosen candidate"),
)  # fmt: skip
TYPES: Final[Mapping[str, Mapping[type, str]]] = {
    "The state directory": {
        Pointer: f"`{CHECKPOINTS}/serving.json`",
        Canary: "In the pointer",
        RemovedNumbers: f"`{CHECKPOINTS}/removed.json`",
        Holder: f"`{lock.FILE_NAME}`",
        Feedback: f"A line of `{FEEDBACK}/{spool.OPEN_NAME}`",
    },
    "A generation": {
        Card: f"`{CARD}`",
        DataRange: "In the card",
        Manifest: f"`{MANIFEST}`",
        ListedFile: "In the manifest",
        DocumentFrame: f"`{document_frame.FRAME_FILE}`",
        SequenceLength: f"`{sequence_length.LENGTH_FILE}`",
        ReferenceAnswer: f"`{reference_answer.REFERENCE_FILE}`",
        Ground: f"`{model_files.GROUND_FILE}`",
    },
    "A round": {
        RoundSpec: f"`{round_directory.ROUND}`",
        GenerationRef: "In it",
        RoundSample: "A line of each file of samples",
        SliceFile: f"In the list `{round_directory.SLICES}`",
        HeldOutScores: f"`{round_directory.KNOWN_SCORES}`",
        Scoring: "In it, and in the report",
        RoundRecord: f"`{DRAW}`",
        ProgressEvent: f"A line of `{round_directory.PROGRESS}`",
        Report: f"`{round_directory.REPORT}`",
        PrequentialDocument: "In the report, as an array of these in their order",
        SliceScores: "In the report",
        TrainingSummary: "In the report",
        StoppedCandidate: "In the report",
        HarmBound: f"`{round_directory.ROUND}`",
        KeptCandidates: f"`{kept_candidates.LIST}`",
    },
}
"""What stands in files, by the section; of each type where."""
SHOWN: Final = frozenset(kind for each in TYPES.values() for kind in each)
WORDS: Final[Mapping[Any, str]] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    types.NoneType: "null",
    Any: "anything",
}
DEAD_LETTER_HEADERS: Final[Mapping[str, str]] = {
    "__connect.errors.topic": "the record's topic",
    "__connect.errors.partition": "its partition",
    "__connect.errors.offset": "its offset",
    "__connect.errors.connector.name": "`streams.group_id`",
    "__connect.errors.task.id": "0",
    "__connect.errors.stage": "`VALUE_CONVERTER`",
    "__connect.errors.class.name": "`riverkeep.streams`",
    "__connect.errors.exception.class.name": "the reason, as `riverkeep memory dead-letters` has it",
    "__connect.errors.exception.message": "the particulars, for a person",
    "riverkeep.value.bytes": "how long the value was, which is cut to 512 KiB",
    "riverkeep.headers.dropped": "how many of the record's own headers had no room; where there were any",
}


def headers_sent() -> list[str]:
    """The names of the headers that a dead letter is sent with."""
    letter = DeadLetter(Partition("topic", 0), 0, Reason.EMPTY_TEXT, "", None, b"", 0, 0.0, headers_dropped=1)
    return [name for name, _ in headers(letter, "group")]


def in_words(kind: Any) -> str:
    """A type as JSON has it, with links to what has a table here."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is None:
        return _in_words_of_one(kind)
    if kind == Figure:
        return "number or null"
    if origin is Annotated:
        rows = [each for each in arguments[1:] if isinstance(each, AsRow)]
        return f"array of {', '.join(rows[0].columns)}" if rows else in_words(arguments[0])
    if origin is Literal:
        return " or ".join(f"`{json.dumps(each)}`" for each in arguments)
    return _in_words_of_several(origin, arguments)


def _in_words_of_several(origin: Any, arguments: Sequence[Any]) -> str:
    if origin in (typing.Union, types.UnionType):
        return " or ".join(dict.fromkeys(" or ".join(in_words(each) for each in arguments).split(" or ")))
    if issubclass(origin, Mapping):
        return f"object of {in_words(arguments[1])}"
    if len(arguments) > 1 and arguments[-1] is not Ellipsis:
        return f"array of {', '.join(in_words(each) for each in arguments)}"
    return f"list of {in_words(arguments[0])}"


def _in_words_of_one(kind: type) -> str:
    if kind in SHOWN:
        return f"[{kind.__name__}](#{kind.__name__.lower()})"
    if issubclass(kind, Enum):
        return " or ".join(f"`{json.dumps(each.value)}`" for each in kind)
    return WORDS.get(kind, "object")


def fields_of(kind: type) -> Iterator[tuple[str, str, str]]:
    """Of a type that stands in a file each name, what it is, and what it means."""
    told = meanings(kind)
    hints = get_type_hints(kind, include_extras=True)
    for each in dataclasses.fields(kind):
        yield each.name, in_words(hints[each.name]), _for_readers(told.get(each.name, ""))


def _for_readers(words: str) -> str:
    """What a docstring says, with JSON's words for nothing, and without what leads into the code."""
    plain = re.sub(r"\b(?:None|NaN)\b", "null", " ".join(words.split()))
    return re.sub(
        r"(?:[,;] (?:as|see)| \((?:the greater of)?) ?`[a-z_]+(?:[.]\w+)*`(?: and `\w+`\)| gives it|\))?", "", plain
    )


def _type(kind: type, where: str) -> Iterator[str]:
    about = _for_readers(inspect.cleandoc(kind.__doc__ or "").partition("\n\nAttributes:")[0])
    yield from (f"### {kind.__name__}", "", f"{where}. {about}", "", "| key | is | what |", "|---|---|---|")
    yield from (f"| `{name}` | {kind} | {what} |" for name, kind, what in fields_of(kind))
    yield ""


def _files(kept: Sequence[Kept], *, backups: bool = False) -> Iterator[str]:
    yield "| file | what | in a backup |" if backups else "| file | what |"
    yield "|---|---|---|" if backups else "|---|---|"
    for each in kept:
        yield f"| `{each.name}` | {each.what} |" + (f" {'yes' if each.backed_up else ''} |" if backups else "")
    yield ""


def _records() -> Iterator[str]:
    yield from ("## Records", "", RECORDS, "| setting | by default | what |", "|---|---|---|")
    for name in FIELDS:
        field = TopicFormat.model_fields[name]
        yield f"| `{name}` | {f'`{field.default}`' if field.default else ''} | {field.description} |"
    yield from ("", DEAD_LETTERS, "| header | what |", "|---|---|")
    yield from (f"| `{name}` | {DEAD_LETTER_HEADERS[name]} |" for name in headers_sent())
    yield ""


def page() -> str:
    """The whole page."""
    lines = [INTRODUCTION]
    for title, kept in (("The state directory", STATE_DIRECTORY), ("A generation", GENERATION), ("A round", ROUND)):
        lines += [f"## {title}", "", ABOUT[title], *_files(kept, backups=kept is STATE_DIRECTORY)]
        for kind, where in TYPES[title].items():
            lines += _type(kind, where)
    return "\n".join([*lines, *_records(), ELSEWHERE])


if __name__ == "__main__":
    print(page(), end="")
