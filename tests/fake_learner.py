"""A stand-in for `python -m learner`: `fake_learner.py MODE ROUND_DIR [--write NAME]`, without torch, in a blink.

It trains nothing: a candidate is its parent's files, and the scores are invented, as the mode says. Of a classifier's
documents every third gets another label from base and parent, none from the candidate. An earlier generation that it is
to score again is far better than any of them.

good          the candidate is better on every slice
worse         the candidate is worse on every slice
doubtful      the candidate is better on average, but too unevenly to tell
unsure        the same on new text alone, where more of it may tell; good on older text
implausible   stops before training, as with text beyond the plausibility bounds
hang          says one line and then nothing
oom           out of memory unless the micro-batch has been halved
fits_N        out of memory with more than N sequences in a pass, else good
needs_checkpointing  out of memory without gradient checkpointing, else good
killed        kills itself as the kernel would for memory, unless the micro-batch has been halved
killed_again  kills itself as the kernel would for memory
crash         ends with an error
full_disk     finds no room for the candidate
diverged      the loss was not finite
unskilled     good, but the candidate answers every second prompt of a skill wrongly, which all others answer rightly
partly        good, having seen the older half of the new text and none of the replayed
slow          good, after two seconds of steps
overshooting  good, but beside that candidate there is one that forgot the anchor, and was scored no further
hollow_N      good, but from round N on the candidate's weights are no numbers

large_MODE    as the mode says, and the candidate is not written before it is asked for; with `--write NAME` it is
large_damaged good, but what it is made of is found to be damaged
"""

import os
import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
from safetensors.numpy import load_file, save_file

from checkpoints.files.durable_writes import built_directory
from checkpoints.manifest import ListedFile
from learner.directory.kept_candidates import KEPT, require_kept_intact, take_over
from learner.directory.report import (
    FILE_NAME,
    WAY_OF_SCORING,
    Outcome,
    PrequentialDocument,
    Report,
    SliceScores,
    StoppedCandidate,
    TrainingSummary,
    read_report,
)
from learner.directory.round_directory import CANDIDATES, PARENT, RoundInput, RoundSlice, TextSample, read_round
from learner.directory.round_skills import BrokenAnswer, SkillScores
from learner.directory.trained_result import RESULT, ScoredCandidate, TrainedResult
from learner.errors import BadRoundDirectory, NoRoom, OutOfMemory
from learner.evaluation.proven_harm import proven_harm
from learner.settings import RecipeSettings
from learner.skills.prompts import Skill
from memory.ledger.records import DocumentScore
from memory.ledger.scorings import Scoring

TOKENS = 10
FULL_MICRO_BATCH = 16
FITS, CHECKPOINTED, HOLLOW = "fits_", "needs_checkpointing", "hollow_"
BEST_LOSS = 1.5
FORGETFUL = "0.10"
CANDIDATE_LOSS = {
    "good": 2.5,
    "slow": 2.5,
    "oom": 2.5,
    "killed": 2.5,
    "partly": 2.5,
    "overshooting": 2.5,
    "unskilled": 2.5,
    "worse": 3.5,
    "doubtful": 2.99,
    "unsure": 2.99,
}


def main(mode: str, directory: Path, write: str | None = None) -> int:
    """Behave as the mode says; returns the exit status."""
    if write is not None:
        return write_candidate(mode, directory, write)
    large, mode = mode.startswith("large_"), mode.removeprefix("large_")
    mode = "good" if mode == "damaged" else mode
    given = read_round(directory)
    say(event="phase", name="train")
    if mode == "hang":
        time.sleep(3600)
    if mode == "crash":
        raise RuntimeError("the learner was told to crash")
    if mode == "full_disk":
        sys.stderr.write("no space to write a candidate\n")
        return NoRoom.exit_code
    full = given.spec.recipe.micro_batch >= FULL_MICRO_BATCH
    if runs_out(mode, given.spec.recipe):
        sys.stderr.write("no room for the batch\n")
        return OutOfMemory.exit_code
    hollow_from = int(mode.removeprefix(HOLLOW)) if mode.startswith(HOLLOW) else None
    mode = "good" if mode.startswith((FITS, HOLLOW)) or mode == CHECKPOINTED else mode
    if mode == "killed_again" or (mode == "killed" and full):
        os.kill(os.getpid(), signal.SIGKILL)
    for step in range(20 if mode == "slow" else 1):
        say(event="step", step=step + 1, steps=20, losses={"new": 3.0}, tokens_per_second=1000.0)
        time.sleep(0.1 if mode == "slow" else 0)
    outcome = mode if mode in ("implausible", "diverged") else "not_judgeable" if given.spec.lacking else ""
    report = untrained(given, outcome) if outcome else trained(given, mode, large=large)
    if hollow_from is not None and given.spec.round >= hollow_from:
        hollow_out(directory / CANDIDATES / "0.00" / "model.safetensors")
    if mode == "overshooting":
        report = overshot(given, report)
    partial = directory / f"{FILE_NAME}.part"
    partial.write_bytes(report.encode())
    partial.replace(directory / FILE_NAME)
    say(event="done")
    return 0


def runs_out(mode: str, recipe: RecipeSettings) -> bool:
    """Whether a mode's memory is too small for a recipe."""
    if mode == CHECKPOINTED:
        return not recipe.gradient_checkpointing
    if mode.startswith(FITS):
        return min(recipe.micro_batch, recipe.batch_sequences) > int(mode.removeprefix(FITS))
    return mode == "oom" and recipe.micro_batch >= FULL_MICRO_BATCH


def write_candidate(mode: str, directory: Path, name: str) -> int:
    """Write a candidate whole, as the mode says; returns the exit status."""
    say(event="phase", name="write")
    if mode == "large_damaged":
        sys.stderr.write("what it is made of is damaged\n")
        return BadRoundDirectory.exit_code
    with built_directory(directory / CANDIDATES / name) as target:
        shutil.copytree(directory / PARENT, target, dirs_exist_ok=True)
    return 0


def hollow_out(weights: Path) -> None:
    """Put no numbers where there were some."""
    tensors = {name: np.full_like(tensor, np.nan) for name, tensor in load_file(weights).items()}
    weights.unlink()
    save_file(tensors, weights, metadata={"format": "pt"})


def say(**event: object) -> None:
    """Print one progress line."""
    print(orjson.dumps(event).decode(), flush=True)


def scores(samples: tuple[TextSample, ...], loss: float, *, wrong: bool) -> tuple[DocumentScore, ...]:
    """Every document at about this loss per token; a little apart, so that there is something to resample."""
    found = []
    for each in samples:
        nll = loss + 0.01 * (each.id % 7)
        if each.label is None:
            found.append(DocumentScore(each.id, TOKENS * nll, TOKENS))
        else:
            predicted = "another" if wrong and each.id % 3 == 0 else each.label
            found.append(DocumentScore(each.id, nll, 1, predicted, each.label))
    return tuple(found)


def candidate_scores(piece: RoundSlice, mode: str) -> tuple[DocumentScore, ...]:
    """Of the candidate, as the mode says."""
    if mode == "unsure":
        mode = "doubtful" if piece.kind == "newest" else "good"
    found = scores(piece.samples, CANDIDATE_LOSS[mode], wrong=False)
    if mode != "doubtful":
        return found
    uneven = TOKENS * 0.9
    return tuple(replace(one, nll=one.nll + uneven * (1 if at % 2 else -1)) for at, one in enumerate(found))


def prequential(given: RoundInput, loss: float) -> tuple[PrequentialDocument, ...]:
    """The fresh text under the parent."""
    return tuple(PrequentialDocument(each.id, each.source, TOKENS * loss, TOKENS, 0.0) for each in given.fresh[:64])


def trained(given: RoundInput, mode: str, *, large: bool) -> Report:
    """A report with one candidate, and the candidate; of one that is judged again what its training took."""
    if given.spec.kept is not None:
        require_kept_intact(given.path, given.spec.kept)
        for made in (CANDIDATES, RESULT):
            shutil.rmtree(given.path / made, ignore_errors=True)
        take_over(given.path)
        earlier = read_report(given.path / KEPT)
        slices, skills = slice_scores(given, mode), skill_scores(given, mode)
        return replace(earlier, round=given.spec.round, slices=slices, skills=skills, scored=scoring(given))
    if large:
        (given.path / RESULT).mkdir(exist_ok=True)
        TrainedResult(ListedFile("0" * 64, 0), {"0.00": ScoredCandidate(0.0, "0" * 64)}).write(given.path)
    else:
        shutil.copytree(given.path / PARENT, given.path / CANDIDATES / "0.00", dirs_exist_ok=True)
    return Report(
        round=given.spec.round,
        kind=given.spec.kind,
        outcome=Outcome.TRAINED,
        detail="",
        device="none",
        prequential=prequential(given, 3.0),
        slices=slice_scores(given, mode),
        training=TrainingSummary(
            steps=20,
            tokens_new=1000,
            tokens_replayed=500,
            seconds=0.1,
            tokens_per_second=15_000.0,
            losses={"new": 2.5},
            micro_batch=given.spec.recipe.micro_batch,
            peak_memory_bytes=1 << 20,
            bytes_per_token=4.0,
            tokens_touched=10 * len(seen(given)) if mode == "partly" else None,
            tokens_drawn=10 * len(given.fresh) if mode == "partly" else None,
            checkpointing_note=given.spec.checkpointing,
        ),
        touched=seen(given) if mode == "partly" else None,
        untrainable=frozenset(),
        scored=scoring(given),
        skills=skill_scores(given, mode),
    )


def overshot(given: RoundInput, report: Report) -> Report:
    """The report with one more candidate, which is stopped by the bounds that the round was given."""
    (name,) = [piece.name for piece in given.slices if piece.kind == "anchor"]
    (anchor,) = [piece for piece in given.slices if piece.name == name]
    far, was = scores(anchor.samples, 4.0, wrong=False), report.slices[name]
    on = proven_harm(given.spec.harm, {name: far}, parent={name: was.parent}, base={name: was.base})
    assert on == name
    left = tuple(piece.name for piece in given.slices if piece.name != name)
    slices = {**report.slices, name: replace(was, candidates={**was.candidates, FORGETFUL: far})}
    return replace(report, slices=slices, stopped=(StoppedCandidate(FORGETFUL, on, left, tuple(report.skills)),))


def skill_scores(given: RoundInput, mode: str) -> dict[str, SkillScores]:
    """What base, parent and candidate answer, as the mode says."""
    return {skill.name: _skill_scores(skill, mode) for skill in given.skills}


def _skill_scores(skill: Skill, mode: str) -> SkillScores:
    every = "1" * len(skill.prompts)
    candidate = "".join("10"[at % 2] for at in range(len(every))) if mode == "unskilled" else every
    broken = [prompt for prompt, right in zip(skill.prompts, candidate, strict=True) if right == "0"]
    told = tuple(
        BrokenAnswer(prompt.line, repr(prompt.question), repr(prompt.right_answers[0]), "'?'") for prompt in broken[:10]
    )
    return SkillScores(skill.version, every, every, {"0.00": candidate}, {"0.00": told})


def slice_scores(given: RoundInput, mode: str) -> dict[str, SliceScores]:
    """Of base, parent, candidate and best so far, as the mode says."""
    return {
        piece.name: SliceScores(
            base=scores(piece.samples, 3.0, wrong=True),
            parent=scores(piece.samples, 3.0, wrong=True),
            candidates={"0.00": candidate_scores(piece, mode)},
            best=() if given.spec.best is None else scores(piece.samples, BEST_LOSS, wrong=False),
        )
        for piece in given.slices
    }


def scoring(given: RoundInput) -> Scoring:
    """How a learner takes its scores that runs where its round says."""
    device, recipe = given.spec.device, given.spec.recipe
    where, precision = ("cpu" if device == "auto" else device.partition(":")[0]), recipe.precision
    return Scoring(where, "float32" if precision == "auto" else precision, recipe.length, WAY_OF_SCORING)


def seen(given: RoundInput) -> frozenset[int]:
    """The older half of the new text."""
    return frozenset(one.id for one in given.fresh[: len(given.fresh) // 2])


def untrained(given: RoundInput, mode: str) -> Report:
    """A report without candidates."""
    loss = 30.0 if mode == "implausible" else 3.0
    return Report(
        round=given.spec.round,
        kind=given.spec.kind,
        outcome=Outcome(mode),
        detail=given.spec.lacking if mode == "not_judgeable" else f"the learner was told to be {mode}",
        device="none",
        prequential=prequential(given, loss),
        slices={},
        training=None,
        touched=None,
        untrainable=frozenset(),
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[4:]))
