"""The layout of a round's directory: what goes in, what comes out, and the checks at its edge. Torch-free.

round.json                   what to do: written last, so its presence says that everything else is there
parent/  base/               hard links of the two generations (copies where links are impossible); of one that is an
                             adapter with what it lies on in `ground/` below it
best/                        of a third, that was best on older text and has to be scored again; most rounds have none
kept/                        candidates that an earlier round trained, to be judged once more; most rounds have none
fresh.jsonl  replay.jsonl  early_stop.jsonl
slices.json  slices/NNN.jsonl
known_scores.json            held-out scores computed in earlier rounds
skills/  known_skills.json   prompts with expected answers, where there are any: see `round_skills`
saved/                       of a round under way: where it stands, from which it goes on when its learner was killed
progress.jsonl               out: one JSON object a line, also printed
result/                      out: what every candidate can be written from: see `trained_result`
candidates/0.25/ …           out: a whole model's directory, named by the parent's share in it: the candidate that the
                             gate chose, or the only one; of adapters every one
report.json                  out: written last; its presence says that the learner finished
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal, Protocol

import orjson
import pydantic.dataclasses
from pydantic import ConfigDict, ValidationError

from checkpoints.card import ModelKind
from checkpoints.json_files import STRICT, Kind, explain_json, read_json, write_json
from learner.directory import kept_candidates
from learner.directory.harm_bounds import HarmBound
from learner.directory.kept_candidates import KeptCandidates
from learner.directory.known_scores import HeldOutScores, Scores, columns, scores_of
from learner.directory.links import link_generation
from learner.directory.plausibility_bounds import PlausibilityBounds
from learner.directory.round_skills import KnownSkills, SkillFile, read_known_skills, read_skills, write_skills
from learner.directory.slice_list import SliceFile
from learner.errors import BadRoundDirectory
from learner.process_settings import Devices
from learner.settings import SHARE_DECIMALS, RecipeSettings
from learner.skills.prompts import Skill
from memory.ledger.records import SliceKind
from memory.ledger.scorings import Scoring
from streams.chats import learned_text

FORMAT: Final = 1
ROUND = "round.json"
PARENT, BASE, BEST = "parent", "base", "best"
FRESH, REPLAY, EARLY_STOP = "fresh.jsonl", "replay.jsonl", "early_stop.jsonl"
SLICES, KNOWN_SCORES = "slices.json", "known_scores.json"
PROGRESS, CANDIDATES, REPORT = "progress.jsonl", "candidates", "report.json"
# Below a model's own directory: whoever loads a model, an engine of others too, takes all weights of the top level.
IMPORTANCE = "importance/importance.safetensors"
RESIDUALS = "importance/residuals.safetensors"
MOMENTS = "importance/moments.safetensors"


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

    @property
    def turns(self) -> str | None:
        """Of a chat, who said how much of its text, as in `streams.chats`; None for a document."""

    @property
    def weight(self) -> float:
        """How much it counts in what a round minimises: as if it came so often. 1: as every other."""


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class RoundSample:
    """A sample as a round's directory carries it.

    Attributes:
        id: the sample's number in the store.
        text: its text.
        source: where it came from.
        label: its label, for classifiers; None for others.
        turns: of a chat, who said how much of its text; None, or left out, for a document.
        weight: how much it counts in what a round minimises, as if it came so often; left out where it is 1.
    """

    id: int
    text: str
    source: str
    label: str | None = None
    turns: str | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse turns that do not fit the text, and what is no weight: a ValueError."""
        learned_text(self.text, self.turns)
        if not 0 < self.weight < math.inf:
            raise ValueError(f"a weight is greater than 0 and finite, {self.weight} is not")


@dataclass(frozen=True, slots=True)
class RoundSlice:
    """Held-out samples of one source and period, on which base, parent and candidates are scored."""

    name: str
    kind: SliceKind
    source: str
    samples: tuple[TextSample, ...]


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=STRICT)
class GenerationRef:
    """A generation by number and by the digest of its manifest.

    Attributes:
        generation: its number.
        digest: its manifest's.
    """

    generation: int
    digest: str


@pydantic.dataclasses.dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class RoundSpec:
    """What a round is told to do.

    Attributes:
        round: its number.
        kind: what the model is for.
        parent: the generation that it starts from; its files lie in `parent/`.
        base: generation 0, likewise in `base/`.
        recipe: `[learner.recipe]`, as it was when the round began.
        device: where it runs, as `learner.device`.
        threads: of the CPU; None for as many as there are cores.
        plausibility: how unlike earlier text the new text may be before nothing is trained.
        seed: of every random choice in the round.
        approved: a person has read the new text and lets it train whatever the plausibility bounds say.
        plausibility_documents: how many new documents are scored under the parent before training.
        lacking: what there is too little of to judge a candidate, a sentence: it is only looked whether the new text
            is plausible, and nothing is trained. Empty where nothing is lacking.
        best: an earlier generation that is scored again where its scores are not known, for the gate to hold the
            candidates to; None where all that it needs is known, or no such generation has files.
        kept: candidates that an earlier round trained with the same text and recipe from the same parent: they are
            scored, and nothing is trained. None where the round trains its own.
        new_labels: of a classifier, labels that the parent's head lacks and the candidates' have, in this order.
        save_seconds: how often the round saves itself; None for never.
        skills: what base, parent and candidates are asked; `write_round` enters them.
        checkpointing: one sentence where activations are computed again though the recipe had left that open; else
            empty.
        devices: on how many it runs, by a process for each; `all` on all GPUs that are there.
        compile: whether the model's layers are compiled while it is trained.
        sharded: whether its weights are divided over the devices while it trains.
        harm: what each candidate must keep on older text, or is scored no further once it is proven not to.
        format: of the file.
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
    best: GenerationRef | None = None
    kept: KeptCandidates | None = None
    new_labels: tuple[str, ...] = ()
    save_seconds: float | None = None
    skills: tuple[SkillFile, ...] = ()
    checkpointing: str = ""
    devices: Devices = 1
    compile: bool = False
    sharded: bool = False
    harm: tuple[HarmBound, ...] = ()
    format: Literal[1] = FORMAT


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
    known_best: Scores = field(default_factory=dict)
    skills: tuple[Skill, ...] = ()
    known_skills: KnownSkills = field(default_factory=dict)
    scored: Scoring | None = None

    def known_as(self, how: Scoring) -> "RoundInput":
        """Return the same with known scores only where they were taken in this way: others are computed anew."""
        if self.scored == how:
            return self
        return replace(self, known_parent={}, known_base={}, known_best={}, known_skills={})


def write_round(
    path: Path,
    spec: RoundSpec,
    *,
    parent_dir: Path,
    base_dir: Path,
    best_dir: Path | None = None,
    kept_dir: Path | None = None,
    fresh: Iterable[TextSample],
    replay: Iterable[TextSample],
    early_stop: Iterable[TextSample],
    slices: Sequence[RoundSlice],
    known_parent: Scores | None = None,
    known_base: Scores | None = None,
    known_best: Scores | None = None,
    skills: Sequence[Skill] = (),
    known_skills: KnownSkills | None = None,
    scored: Scoring | None = None,
) -> None:
    """Write a round's directory for the learner.

    Args:
        path: made here; it must not exist.
        spec: what to do.
        parent_dir: the parent generation's directory, hard-linked into the round's.
        base_dir: the base generation's directory, likewise.
        best_dir: that of `spec.best`, likewise.
        kept_dir: directory of the round that has the candidates of `spec.kept`, which are linked likewise.
        fresh: new samples, to train on.
        replay: samples drawn from the memory.
        early_stop: samples that decide when to stop, and that the gate never reports on.
        slices: held-out samples.
        known_parent: scores of the parent on held-out samples, by sample id, so that they need no computing.
        known_base: scores of the base, likewise.
        known_best: scores of `spec.best`, likewise.
        skills: what base, parent and candidates are asked.
        known_skills: what parent and base were found to answer rightly.
        scored: how all these were taken.

    Raises:
        FileExistsError: there is already something at `path`.
        checkpoints.errors.UnusableModel: what an adapter says of its ground is damaged.
        OSError: the disk is full or cannot be written.
    """
    path.mkdir(parents=True)
    link_generation(parent_dir, path / PARENT)
    link_generation(base_dir, path / BASE)
    if best_dir is not None:
        link_generation(best_dir, path / BEST)
    if kept_dir is not None:
        kept_candidates.put_into(path, kept_dir)
    _write_samples(path / FRESH, fresh)
    _write_samples(path / REPLAY, replay)
    _write_samples(path / EARLY_STOP, early_stop)
    _write_slices(path, slices)
    parent, base, best = (columns(scores or {}) for scores in (known_parent, known_base, known_best))
    known = HeldOutScores(parent, base, best, scored=scored)
    (path / KNOWN_SCORES).write_bytes(write_json(known))
    write_spec(path, replace(spec, skills=write_skills(path, skills, known_skills or {})))


def read_round(path: Path) -> RoundInput:
    """Read and check a round's directory.

    Raises:
        BadRoundDirectory: a file is missing, is no JSON, lacks a field or has one of the wrong kind.
    """
    spec = _read_spec(path)
    skills = read_skills(path, spec.skills)
    known = _read(path / KNOWN_SCORES, HeldOutScores, "scores", "does not hold scores of parent and base")
    return RoundInput(
        path=path,
        spec=spec,
        fresh=_read_samples(path / FRESH),
        replay=_read_samples(path / REPLAY),
        early_stop=_read_samples(path / EARLY_STOP),
        slices=_read_slices(path),
        known_parent=scores_of(known.parent),
        known_base=scores_of(known.base),
        known_best=scores_of(known.best),
        skills=skills,
        known_skills=read_known_skills(path, skills),
        scored=known.scored,
    )


def read_spec(path: Path) -> RoundSpec:
    """Read what a round is told to do, without its text.

    Raises:
        BadRoundDirectory: it is missing, or cannot be understood.
    """
    return _read_spec(path)


def candidate_name(parent_share: float) -> str:
    """Return the directory name of the candidate that has this share, 0 to 1, of the parent's weights.

    Names order like their shares: the gate prefers the first of equals.
    """
    whole, _, decimals = f"{parent_share:.{SHARE_DECIMALS}f}".partition(".")
    return f"{whole}.{decimals.rstrip('0'):0<2}"


def _write_samples(path: Path, samples: Iterable[TextSample]) -> None:
    with path.open("wb") as file:
        for sample in samples:
            row = {"id": sample.id, "text": sample.text, "source": sample.source, "label": sample.label}
            chat = {} if sample.turns is None else {"turns": sample.turns}
            # Left out as a rule: a directory without weights is what it was before there were any.
            weighed = {} if sample.weight == 1 else {"weight": sample.weight}
            file.write(orjson.dumps(row | chat | weighed, option=orjson.OPT_APPEND_NEWLINE))


def _write_slices(path: Path, slices: Sequence[RoundSlice]) -> None:
    (path / "slices").mkdir()
    index = []
    for number, piece in enumerate(slices):
        file = f"slices/{number:03d}.jsonl"
        _write_samples(path / file, piece.samples)
        index.append(SliceFile(piece.name, piece.kind, piece.source, file))
    (path / SLICES).write_bytes(write_json(tuple(index), indent=2))


def write_spec(path: Path, spec: RoundSpec) -> None:
    """Write down, at once, what a round is told to do."""
    beside = path / f"{ROUND}.part"
    beside.write_bytes(write_json(spec, indent=2))
    beside.replace(path / ROUND)


def _read(path: Path, kind: type[Kind], whole: str, wrong: str) -> Kind:
    """Read a file as a type; `wrong` says of one that is something else what it is not."""
    try:
        return read_json(kind, _content(path))
    except ValidationError as error:
        raise BadRoundDirectory(f"{path} {wrong}: {explain_json(error, whole)}") from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise BadRoundDirectory(
            f"{path.parent} lacks {path.name}: it was not written to its end. Discard the round."
        ) from None
    except OSError as error:
        raise BadRoundDirectory(f"{path} cannot be read: {error}. Discard the round and begin it anew.") from error


@pydantic.dataclasses.dataclass(frozen=True, slots=True, config=ConfigDict(extra="ignore", strict=True))
class _Format:
    format: int | None = None


def _read_spec(path: Path) -> RoundSpec:
    # Before the rest: what another version wrote may differ in any field.
    if _read(path / ROUND, _Format, "round", "cannot be read").format != FORMAT:
        raise BadRoundDirectory(f"{path / ROUND} is not of format {FORMAT}: another version of Riverkeep wrote it.")
    return _read(path / ROUND, RoundSpec, "round", "does not describe a round")


def _read_samples(path: Path) -> tuple[RoundSample, ...]:
    return tuple(_samples(path))


def _samples(path: Path) -> Iterator[RoundSample]:
    for number, line in enumerate(_content(path).splitlines(), 1):
        try:
            yield read_json(RoundSample, line)
        except ValidationError as error:
            raise BadRoundDirectory(
                f"{path}, line {number}, is not a sample: {explain_json(error, 'sample')}"
            ) from error


def _read_slices(path: Path) -> tuple[RoundSlice, ...]:
    index = _read(path / SLICES, tuple[SliceFile, ...], "slices", "does not list slices")
    return tuple(RoundSlice(each.name, each.kind, each.source, _read_samples(path / each.file)) for each in index)
