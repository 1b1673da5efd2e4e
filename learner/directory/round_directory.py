"""The layout of a round's directory: what goes in, what comes out, and the checks at its edge. Torch-free.

round.json                   what to do: written last, so its presence says that everything else is there
parent/  base/               hard links of the two generations (copies where links are impossible)
fresh.jsonl  replay.jsonl  early_stop.jsonl
slices.json  slices/NNN.jsonl
known_scores.json            held-out scores computed in earlier rounds
progress.jsonl               out: one JSON object a line, also printed
candidates/0.00/ …           out: whole model directories, named by the parent's share in them
report.json                  out: written last; its presence says that the learner finished
"""

import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import UnionType
from typing import Any, Protocol

import orjson
from pydantic import ValidationError

from checkpoints.card import ModelKind
from learner.directory.plausibility_bounds import PlausibilityBounds
from learner.errors import BadRoundDirectory
from learner.settings import SHARE_DECIMALS, RecipeSettings
from memory.ledger.records import DocumentScore, SliceKind

FORMAT = 1
ROUND = "round.json"
PARENT, BASE = "parent", "base"
FRESH, REPLAY, EARLY_STOP = "fresh.jsonl", "replay.jsonl", "early_stop.jsonl"
SLICES, KNOWN_SCORES = "slices.json", "known_scores.json"
PROGRESS, CANDIDATES, REPORT = "progress.jsonl", "candidates", "report.json"
IMPORTANCE = "importance/importance.safetensors"  # below a model's own directory: loaders read the top level

_SAMPLE_FIELDS: dict[str, type | UnionType] = {"id": int, "text": str, "source": str, "label": str | None}


class TextSample(Protocol):
    """What a round needs to know of a sample; the memory's own type has it all."""

    @property
    def id(self) -> int:
        """The sample's number in the store."""

    @property
    def text(self) -> str:
        """Its text."""

    @property
    def label(self) -> str | None:
        """Its label, for classifiers."""

    @property
    def source(self) -> str:
        """Where it came from."""


@dataclass(frozen=True, slots=True)
class RoundSample:
    """A sample as a round's directory carries it."""

    id: int
    text: str
    source: str
    label: str | None = None


@dataclass(frozen=True, slots=True)
class RoundSlice:
    """Held-out samples of one source and period, on which base, parent and candidates are scored."""

    name: str
    kind: SliceKind
    source: str
    samples: tuple[TextSample, ...]


@dataclass(frozen=True, slots=True)
class GenerationRef:
    """A generation by number and by the digest of its manifest."""

    generation: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundSpec:
    """What a round is told to do.

    Attributes:
        seed: of every random choice in the round.
        approved: a person has read the new text and lets it train whatever the plausibility bounds say.
        plausibility_documents: how many new documents are scored under the parent before training.
        lacking: what there is too little of to judge a candidate, a sentence: it is only looked whether the new text
            is plausible, and nothing is trained. Empty where nothing is lacking.
    """

    round: int
    kind: ModelKind
    seed: int
    parent: GenerationRef
    base: GenerationRef
    recipe: RecipeSettings
    device: str = "auto"
    threads: int | None = None
    plausibility: PlausibilityBounds = field(default_factory=PlausibilityBounds)
    plausibility_documents: int = 256
    approved: bool = False
    lacking: str = ""


Scores = Mapping[int, DocumentScore]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundInput:
    """Everything that a round's directory holds for the learner."""

    path: Path
    spec: RoundSpec
    fresh: tuple[RoundSample, ...]
    replay: tuple[RoundSample, ...]
    early_stop: tuple[RoundSample, ...]
    slices: tuple[RoundSlice, ...]
    known_parent: Scores
    known_base: Scores


def write_round(
    path: Path,
    spec: RoundSpec,
    *,
    parent_dir: Path,
    base_dir: Path,
    fresh: Iterable[TextSample],
    replay: Iterable[TextSample],
    early_stop: Iterable[TextSample],
    slices: Sequence[RoundSlice],
    known_parent: Scores | None = None,
    known_base: Scores | None = None,
) -> None:
    """Write a round's directory for the learner.

    Args:
        path: made here; it must not exist.
        spec: what to do.
        parent_dir: the parent generation's directory, hard-linked into the round's.
        base_dir: the base generation's directory, likewise.
        fresh: new samples, to train on.
        replay: samples drawn from the memory.
        early_stop: samples that decide when to stop, and that the gate never reports on.
        slices: held-out samples.
        known_parent: scores of the parent on held-out samples, by sample id, so that they need no computing.
        known_base: scores of the base, likewise.

    Raises:
        FileExistsError: there is already something at `path`.
        OSError: the disk is full or cannot be written.
    """
    path.mkdir(parents=True)
    _link_tree(parent_dir, path / PARENT)
    _link_tree(base_dir, path / BASE)
    _write_samples(path / FRESH, fresh)
    _write_samples(path / REPLAY, replay)
    _write_samples(path / EARLY_STOP, early_stop)
    _write_slices(path, slices)
    known = {"parent": _scores_to_json(known_parent or {}), "base": _scores_to_json(known_base or {})}
    (path / KNOWN_SCORES).write_bytes(orjson.dumps(known))
    _write_spec(path, spec)


def read_round(path: Path) -> RoundInput:
    """Read and check a round's directory.

    Raises:
        BadRoundDirectory: a file is missing, is no JSON, lacks a field or has one of the wrong kind.
    """
    spec = _read_spec(path)
    known = _read_json(path / KNOWN_SCORES)
    return RoundInput(
        path=path,
        spec=spec,
        fresh=_read_samples(path / FRESH),
        replay=_read_samples(path / REPLAY),
        early_stop=_read_samples(path / EARLY_STOP),
        slices=_read_slices(path),
        known_parent=_scores_from_json(known, "parent"),
        known_base=_scores_from_json(known, "base"),
    )


def halve_micro_batch(path: Path) -> int | None:
    """Make ready to try a round again that ran out of memory.

    Returns:
        The new micro-batch, or None where it was 1 already and nothing was changed.
    """
    spec = _read_spec(path)
    if spec.recipe.micro_batch == 1:
        return None
    half = spec.recipe.micro_batch // 2
    _write_spec(path, _with_micro_batch(spec, half))
    return half


def limit_micro_batch(path: Path, most: int) -> bool:
    """Give a round that has not begun a micro-batch of at most `most`; tell whether it had a larger one."""
    spec = _read_spec(path)
    if spec.recipe.micro_batch <= most:
        return False
    _write_spec(path, _with_micro_batch(spec, most))
    return True


def _with_micro_batch(spec: RoundSpec, size: int) -> RoundSpec:
    return replace(spec, recipe=spec.recipe.model_copy(update={"micro_batch": size}))


def candidate_name(parent_share: float) -> str:
    """Return the directory name of the candidate that has this share, 0 to 1, of the parent's weights.

    Names order like their shares: the gate prefers the first of equals.
    """
    whole, _, decimals = f"{parent_share:.{SHARE_DECIMALS}f}".partition(".")
    return f"{whole}.{decimals.rstrip('0'):0<2}"


def _link_tree(source: Path, target: Path) -> None:
    shutil.copytree(source, target, copy_function=_link_or_copy)


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def _write_samples(path: Path, samples: Iterable[TextSample]) -> None:
    with path.open("wb") as file:
        for sample in samples:
            row = {"id": sample.id, "text": sample.text, "source": sample.source, "label": sample.label}
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))


def _write_slices(path: Path, slices: Sequence[RoundSlice]) -> None:
    (path / "slices").mkdir()
    index = []
    for number, piece in enumerate(slices):
        file = f"slices/{number:03d}.jsonl"
        _write_samples(path / file, piece.samples)
        index.append({"name": piece.name, "kind": piece.kind, "source": piece.source, "file": file})
    (path / SLICES).write_bytes(orjson.dumps(index, option=orjson.OPT_INDENT_2))


def _write_spec(path: Path, spec: RoundSpec) -> None:
    fields = asdict(spec) | {
        "format": FORMAT,
        "recipe": spec.recipe.model_dump(mode="json"),
        "plausibility": spec.plausibility.to_json(),
    }
    beside = path / f"{ROUND}.part"
    beside.write_bytes(orjson.dumps(fields, option=orjson.OPT_INDENT_2))
    beside.replace(path / ROUND)


def _scores_to_json(scores: Scores) -> dict[str, list[object]]:
    return {str(id_): [score.nll, score.tokens, score.predicted] for id_, score in scores.items()}


def _read_json(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise BadRoundDirectory(
            f"{path.parent} lacks {path.name}: it was not written to its end. Discard the round."
        ) from None
    except (OSError, orjson.JSONDecodeError) as error:
        raise BadRoundDirectory(f"{path} cannot be read: {error}. Discard the round and begin it anew.") from error


def _read_spec(path: Path) -> RoundSpec:
    fields = _read_json(path / ROUND)
    if not isinstance(fields, dict) or fields.pop("format", None) != FORMAT:
        raise BadRoundDirectory(f"{path / ROUND} is not of format {FORMAT}: another version of Riverkeep wrote it.")
    try:
        return _spec(fields)
    except (KeyError, TypeError, ValidationError) as error:
        raise BadRoundDirectory(f"{path / ROUND} does not describe a round: {error}") from error


def _spec(fields: dict[str, Any]) -> RoundSpec:
    if fields["kind"] not in ("causal-lm", "classifier"):
        raise TypeError(f"kind must be causal-lm or classifier, not {fields['kind']!r}")
    parsed = {
        "parent": GenerationRef(**fields["parent"]),
        "base": GenerationRef(**fields["base"]),
        "recipe": RecipeSettings.model_validate(fields["recipe"]),
        "plausibility": PlausibilityBounds.from_json(fields["plausibility"]),
    }
    return RoundSpec(**fields | parsed)


def _read_samples(path: Path) -> tuple[RoundSample, ...]:
    return tuple(_samples(path))


def _samples(path: Path) -> Iterator[RoundSample]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise BadRoundDirectory(f"{path} cannot be read: {error}. Discard the round and begin it anew.") from error
    for number, line in enumerate(lines, 1):
        try:
            yield _sample(orjson.loads(line))
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise BadRoundDirectory(f"{path}, line {number}, is not a sample: {error}") from error


def _sample(row: dict[str, Any]) -> RoundSample:
    for name, kind in _SAMPLE_FIELDS.items():
        if not isinstance(row[name], kind):
            raise TypeError(f"{name} must not be {row[name]!r}")
    return RoundSample(**{name: row[name] for name in _SAMPLE_FIELDS})


def _read_slices(path: Path) -> tuple[RoundSlice, ...]:
    index = _read_json(path / SLICES)
    try:
        return tuple(
            RoundSlice(row["name"], row["kind"], row["source"], _read_samples(path / row["file"])) for row in index
        )
    except (KeyError, TypeError) as error:
        raise BadRoundDirectory(f"{path / SLICES} does not list slices: {error}") from error


def _scores_from_json(known: Any, model: str) -> dict[int, DocumentScore]:
    try:
        return {
            int(id_): DocumentScore(int(id_), float(row[0]), int(row[1]), row[2]) for id_, row in known[model].items()
        }
    except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise BadRoundDirectory(f"{KNOWN_SCORES} does not hold scores of the {model}: {error}") from error
