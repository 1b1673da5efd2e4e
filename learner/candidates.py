"""A round's candidates: scored from weights in memory, and written whole only where one is to be published.

The round's model takes the weights of one candidate after another; what all of them are made from is written once (see
`learner.directory.trained_result`). The one that the gate chooses is written by a process of its own,
`python -m learner ROUND_DIR --write NAME`, and known by its digest to be what was scored.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from checkpoints.adapters.ground import is_adapter, whole_dir
from checkpoints.adapters.low_rank import Adapted, read_adapter
from checkpoints.document_frame import FRAME_FILE, DocumentFrame, write_frame
from checkpoints.files.disk_errors import disk_errors
from checkpoints.files.durable_writes import built_directory
from checkpoints.kinds import ModelKind
from checkpoints.load import load_model, load_tokenizer
from checkpoints.probe.reference import reference_of
from checkpoints.probe.reference_answer import write_reference
from learner.adapter_candidates import load_candidate
from learner.directory.kept_candidates import require_same
from learner.directory.links import link_or_copy
from learner.directory.report import StoppedCandidate
from learner.directory.round_directory import (
    CANDIDATES,
    IMPORTANCE,
    MOMENTS,
    PARENT,
    RESIDUALS,
    candidate_name,
    read_spec,
)
from learner.directory.trained_result import (
    IMPORTANCE_OF_RESULT,
    MOMENTS_OF_RESULT,
    RESULT,
    ROWS,
    WEIGHTS,
    HeadRows,
    ScoredCandidate,
    TrainedResult,
    are_written_at_once,
    read_result,
)
from learner.errors import BadRoundDirectory
from learner.evaluation.missing_scores import SliceScored
from learner.evaluation.proven_harm import in_order_of_proof, proven_harm
from learner.evaluation.skills import Answers, Skills
from learner.material.encoding import Encoded
from learner.objectives.importance import Importance, save_importance
from learner.progress import Progress
from learner.weights.candidates import (
    Line,
    TensorsByName,
    WeightOfCandidate,
    copy_into,
    named_weights,
    put_into,
    store_into,
    write_model,
)
from learner.weights.grown_head import GrownRows, grow
from learner.weights.residual import load_residuals, save_residuals
from learner.weights.streamed_tensors import StreamedTensors, write_streamed
from learner.weights.tensor_files import load_tensors, save_tensors
from learner.workbench import TOKENS, Workbench

Candidates = Iterable[tuple[str, Any]]
"""Each by its name, with a model that has its weights until the next one comes."""


@dataclass(frozen=True, slots=True)
class ScoredCandidates:
    """What was found of a round's candidates.

    Attributes:
        slices: each candidate's scores, by its name.
        answers: what it answered, likewise; of one that was scored no further nothing.
        stopped: those.
    """

    slices: Mapping[str, SliceScored]
    answers: Mapping[str, Answers]
    stopped: tuple[StoppedCandidate, ...]


def score_candidates(
    bench: Workbench,
    candidates: Candidates,
    slices: Mapping[str, Encoded],
    skills: Skills,
    *,
    count: int,
    parent: SliceScored,
    base: SliceScored,
) -> ScoredCandidates:
    """Score candidates on the slices and ask them, with the very weights that would serve.

    One that is proven to break a bound is scored no further. At least one is scored whole, the last that could pass:
    what is told of a round that is refused is told of that.

    Args:
        bench: of the round.
        candidates: of the round.
        slices: held-out text.
        skills: of the round.
        count: of the candidates.
        parent, base: what they scored on the slices.
    """
    scored: dict[str, SliceScored] = {}
    answers: dict[str, Answers] = {}
    stopped: list[StoppedCandidate] = []
    for at, (name, model) in enumerate(candidates, 1):
        bounds = bench.given.spec.harm if answers or at < count else ()
        scored[name] = {}
        for piece in in_order_of_proof(bounds, slices):
            scored[name][piece] = bench.evaluate(model, slices[piece])
            left = tuple(each for each in slices if each not in scored[name])
            if not left and not skills.names:
                continue
            if on := proven_harm(bounds, scored[name], parent=parent, base=base):
                stopped.append(StoppedCandidate(name, on, left, skills.names))
                # Done with, if not done.
                bench.progress.advance(TOKENS, skills.tokens + sum(len(slices[each].tokens) for each in left))
                bench.progress.say("candidate", name=name, reason=f"it breaks a bound on {on}: scored no further")
                break
        else:
            answers[name] = skills.ask(model)
            bench.progress.say("candidate", name=name)
    return ScoredCandidates(scored, answers, tuple(stopped))


def trained_candidates(
    bench: Workbench, measured: Importance | None, *, rows: GrownRows | None, changed: Collection[str] | None
) -> Iterator[tuple[str, Any]]:
    """Yield what the trained model can be made into, in its place; at the end all can be written that were scored.

    Args:
        bench: of the round; its model has the trained weights, and is overwritten.
        measured: importance, which goes with each.
        rows: what the head has grown.
        changed: the names of the weights that differ from the parent's; None for all.

    Raises:
        OSError: the disk refused.
    """
    path, shares = bench.given.path, sorted(set(bench.given.spec.recipe.interpolation))
    named = named_weights(bench.model)
    result = named if changed is None else {name: named[name] for name in changed}
    if len(shares) == 1:
        # Nothing is left to choose: the result beside it would be one more file of the same size.
        line = _line(path, bench.given.spec.kind, result, rows)
        yield _write_the_only_one(bench, line, measured, shares[0])
        return
    weights = None
    if bench.ranks.is_first:
        # The round's moments may be there already.
        (path / RESULT).mkdir(exist_ok=True)
        with disk_errors(path / RESULT):
            weights = write_streamed(path / RESULT / WEIGHTS, result, bench.progress.alive)
            _write_beside(bench, measured, rows)
    bench.ranks.wait()
    # Of the size of the model, and not needed any more.
    del measured
    line = _line(path, bench.given.spec.kind, StreamedTensors(path / RESULT / WEIGHTS), rows)
    scored = dict[str, ScoredCandidate]()
    for share in shares:
        name = candidate_name(share)
        scored[name] = ScoredCandidate(share, put_into(bench.model, line.point(share)))
        yield name, bench.model
    if weights is not None:
        TrainedResult(weights, scored, None if rows is None else HeadRows(rows.labels, rows.first)).write(path)


def _line(path: Path, kind: ModelKind, result: TensorsByName, rows: GrownRows | None) -> Line:
    """Make the line from the parent in a round's directory to the result."""
    parent = path / PARENT
    # In the dtype that is stored, so that what is scored is what will serve, rounding included.
    stored = load_model(whole_dir(parent), kind, device="cpu", dtype=None)
    if not is_adapter(parent):
        return Line.between(stored, load_residuals(parent / RESIDUALS, stored), result, rows)
    # Before a head grows: what an adapter holds of it is as it was.
    adapted = Adapted(stored, read_adapter(parent), parent)
    return Line.between(stored, {}, result, rows, adapted)


def _write_beside(bench: Workbench, measured: Importance | None, rows: GrownRows | None) -> None:
    """Write what else candidates are made from, beside the trained weights."""
    directory = bench.given.path / RESULT
    if rows is not None:
        save_tensors(directory / ROWS, rows.weights)
    if measured is not None:
        save_importance(directory / IMPORTANCE_OF_RESULT, measured)
    if (frame := _frame(bench)) is not None:
        write_frame(directory, frame)


def _frame(bench: Workbench) -> DocumentFrame | None:
    """How documents are framed, where a generation keeps that: it is asked of causal language models."""
    return bench.encode.frame if bench.given.spec.kind == "causal-lm" else None


def _write_the_only_one(bench: Workbench, line: Line, measured: Importance | None, share: float) -> tuple[str, Any]:
    path, name = bench.given.path, candidate_name(share)
    directory = path / CANDIDATES / name
    if not bench.ranks.is_first:
        store_into(line.parent, line.point(share))
        copy_into(bench.model, line.parent)
        return name, bench.model
    _write_whole(directory, line.parent, line.point(share), path / PARENT, bench.given.spec.kind)
    if (frame := _frame(bench)) is not None:
        with disk_errors(directory):
            write_frame(directory, frame)
    if measured is not None:
        save_importance(directory / IMPORTANCE, measured)
    copy_into(bench.model, line.parent)
    return name, bench.model


def _write_whole(
    directory: Path, model: Any, candidate: Iterable[WeightOfCandidate], parent_dir: Path, kind: ModelKind
) -> str:
    """Write a candidate's model, what it answers, and what rounding cut off it; return the digest of its weights.

    Args:
        model: is given the weights; the line's parent, or one like it.
    """
    digest, cut_off = store_into(model, candidate)
    write_model(directory, model, whole_dir(parent_dir))
    if kind == "causal-lm":
        with disk_errors(directory):
            write_reference(directory, reference_of(model, load_tokenizer(directory)))
    if cut_off:
        save_residuals(directory / RESIDUALS, cut_off)
    return digest


def kept_candidates(bench: Workbench, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """Yield what an earlier round trained, from what it left: the parent and its result, or whole models.

    Args:
        bench: of the round; where they are made of a result, its model is overwritten.
        names: of the candidates.

    Raises:
        BadRoundDirectory: one of them is not what was scored.
    """
    path = bench.given.path
    result = read_result(path)
    if result is None:
        for name in names:
            yield name, load_candidate(bench, name)
        return
    rows = _rows(path, result)
    line = _line(path, bench.given.spec.kind, StreamedTensors(path / RESULT / WEIGHTS), rows)
    if rows is not None:
        grow(bench.model, rows)
    for name in names:
        expected = result.candidates[name]
        _require_scored(path, name, expected, put_into(bench.model, line.point(expected.parent_share)))
        yield name, bench.model


def _rows(path: Path, result: TrainedResult) -> GrownRows | None:
    if result.rows is None:
        return None
    stored = load_tensors(path / RESULT / ROWS)
    if stored is None:
        raise BadRoundDirectory(f"{path / RESULT / ROWS} is missing. Discard the round.")
    return GrownRows(result.rows.labels, result.rows.first, stored[0])


def _require_scored(path: Path, name: str, expected: ScoredCandidate, sha256: str) -> None:
    if sha256 != expected.sha256:
        raise BadRoundDirectory(
            f"candidate {name} cannot be made again of {path / PARENT} and {path / RESULT}: its weights would not be "
            "those that were scored. A file is damaged, or this version of torch rounds otherwise. Discard the round."
        )


def write_candidate(path: Path, name: str, progress: Progress) -> None:
    """Write a scored candidate whole, in `candidates/` of its round's directory; nothing where it is there already.

    Killed at any point, it leaves nothing under that name, and can be called again.

    Args:
        path: a round's directory, in which `learner.job.run_round` has finished.
        name: of the candidate.
        progress: told of it.

    Raises:
        BadRoundDirectory: the round has no such candidate, or what it would be made of is damaged.
        checkpoints.errors.CheckpointsError: the parent cannot be loaded.
        OSError: the disk refused.
    """
    if name in {each.name for each in (path / CANDIDATES).glob("*")}:
        return
    result = read_result(path)
    if result is None or name not in result.candidates:
        raise BadRoundDirectory(f"{path} has no candidate {name} that could be written")
    _write_some(path, result, [name], progress)


def write_small_ones(path: Path, progress: Progress) -> None:
    """Write all candidates of a round whole, where they are so small that nobody should wait for one of them later.

    Raises:
        OSError: the disk refused.
    """
    result = read_result(path)
    if result is None:
        return
    parent = sum(file.stat().st_size for file in (path / PARENT).glob("*.safetensors"))
    if are_written_at_once(parent, len(result.candidates)):
        _write_some(path, result, sorted(result.candidates), progress)


def _write_some(path: Path, result: TrainedResult, names: Sequence[str], progress: Progress) -> None:
    spec = read_spec(path)
    if spec.threads is not None:
        # As it was when they were scored.
        torch.set_num_threads(spec.threads)
    # What rounding cuts off a candidate is no part of its digest, and the next round begins from it.
    require_same(path / RESULT / WEIGHTS, result.weights)
    line = _line(path, spec.kind, StreamedTensors(path / RESULT / WEIGHTS), _rows(path, result))
    # A single one is written over the parent itself, of which a large model has no second copy.
    model = line.parent if len(names) == 1 else deepcopy(line.parent)
    weights = sum(weight.numel() for weight in named_weights(line.parent).values())
    with progress.phase("write", "weights", len(names) * weights):
        for name in names:
            expected, target = result.candidates[name], path / CANDIDATES / name
            with disk_errors(target), built_directory(target) as directory:
                point = _telling(line.point(expected.parent_share), progress)
                written = _write_whole(directory, model, point, path / PARENT, spec.kind)
                _require_scored(path, name, expected, written)
                _put_beside(directory, path / RESULT)


def _telling(candidate: Iterable[WeightOfCandidate], progress: Progress) -> Iterator[WeightOfCandidate]:
    for weight in candidate:
        yield weight
        progress.advance("weights", weight.stored.numel())


def _put_beside(directory: Path, result: Path) -> None:
    """Put what goes with every candidate beside one."""
    if (result / FRAME_FILE).exists():
        (directory / FRAME_FILE).unlink(missing_ok=True)
        link_or_copy(result / FRAME_FILE, directory / FRAME_FILE)
    for name, beside in ((IMPORTANCE_OF_RESULT, IMPORTANCE), (MOMENTS_OF_RESULT, MOMENTS)):
        if (result / name).exists():
            (directory / beside).parent.mkdir(exist_ok=True)
            link_or_copy(result / name, directory / beside)
