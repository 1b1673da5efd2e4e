"""One round as a pure job: a round's directory in, candidates and a report out."""

import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TextIO

import torch

from checkpoints.files.durable_writes import replace_file
from learner.adapter_candidates import adapter_candidates, stays_adapter
from learner.adapting import attach_adapter, require_adapter_fits
from learner.candidates import (
    Candidates,
    ScoredCandidates,
    score_candidates,
    trained_candidates,
    write_small_ones,
)
from learner.devices.ranks import ALONE, Ranks
from learner.directory.kept_candidates import require_kept_intact
from learner.directory.parent_and_base import require_intact
from learner.directory.report import Outcome, Report, TrainingSummary
from learner.directory.round_directory import (
    BASE,
    BEST,
    CANDIDATES,
    PARENT,
    PROGRESS,
    REPORT,
    RoundInput,
    RoundSample,
    read_round,
)
from learner.directory.saved_round import forget_saved, saved_step
from learner.directory.trained_result import RESULT
from learner.evaluation.base_and_parent import earlier_scores, tokens_to_score
from learner.evaluation.best_so_far import best_scores, tokens_to_score_again
from learner.evaluation.missing_scores import SliceScored, join_scores
from learner.evaluation.new_text import NewText, implausible, prequential, prequential_tokens
from learner.evaluation.skills import Skills
from learner.judging_again import judge_again
from learner.material.batches import Step
from learner.material.encoding import Encoded
from learner.material.step_plan import Material, StepPlan, prepare, replay_note
from learner.material.touched import find_touched
from learner.new_labels import grow_for_new_labels
from learner.objectives.importance import Importance
from learner.penalties import pull_of
from learner.progress import Progress, silent_progress
from learner.round_importance import RoundImportance
from learner.round_training import divide, make_whole, require_shardable, train_round
from learner.training.round_moments import RoundMoments
from learner.training.train import Diverged, Training
from learner.weights.adapter import Adapter
from learner.weights.four_bits import give_back, hold_in_four_bits, maps_of
from learner.weights.grown_head import GrownRows
from learner.weights.residual import add_residuals
from learner.weights.stored_dtype import take_float32, take_stored_dtype
from learner.workbench import CPU, DOCUMENTS, SEQUENCES, TOKENS, Workbench, set_up


@dataclass(frozen=True, slots=True)
class Texts:
    """A round's samples as tokens."""

    fresh: Encoded
    replay: Encoded
    early_stop: Encoded
    slices: Mapping[str, Encoded]


def run_round(path: Path, echo: TextIO | None = None, ranks: Ranks = ALONE) -> Report:
    """Run the round in a directory and write its report there.

    It goes on from what an earlier, killed run saved; what else that left is removed first.

    Args:
        path: a directory that `learner.directory.round_directory.write_round` made.
        echo: where progress is printed too.
        ranks: that run the round together. The first of them alone writes and tells of progress.

    Raises:
        LearnerError: the directory cannot be used, the device is not here, or another rank has ended.
        checkpoints.errors.CheckpointsError: the parent or the base cannot be loaded.
        OSError: the disk refused.
        RuntimeError: torch failed; `learner.devices.device.is_out_of_memory` tells whether for memory.
    """
    given = read_round(path)
    # Of several ranks all have looked, before the first changes anything.
    goes_on = saved_step(path) is not None
    ranks.wait()
    if ranks.is_first:
        # The report first: where it is, the candidates are taken for whole, or for such as can be written.
        (path / REPORT).unlink(missing_ok=True)
        for made in (CANDIDATES, RESULT):
            shutil.rmtree(path / made, ignore_errors=True)
    with Progress(path / PROGRESS, echo, goes_on=goes_on) if ranks.is_first else silent_progress() as progress:
        if ranks.is_first:
            # Directories travel between machines: a damaged parent would only be found out as a bad candidate.
            with progress.phase("verify"):
                _require_intact(given)
        # None reads on before the first has looked at the files, and removed what an earlier run left.
        ranks.wait()
        with ranks.passing_together():
            report = _run(given, progress, ranks) if given.spec.kept is None else judge_again(given, progress, ranks)
        if ranks.is_first:
            write_small_ones(path, progress)
            # Last, when every candidate is written or can be: its presence says that the round came to its end.
            replace_file(path / REPORT, report.encode())
            forget_saved(path)
        progress.say("done", outcome=report.outcome.value, detail=report.detail)
    return report


def _require_intact(given: RoundInput) -> None:
    path, spec = given.path, given.spec
    require_intact(path / PARENT, spec.parent)
    require_intact(path / BASE, spec.base)
    if spec.best is not None:
        require_intact(path / BEST, spec.best)
    if spec.kept is not None:
        require_kept_intact(path, spec.kept)


def _run(given: RoundInput, progress: Progress, ranks: Ranks) -> Report:
    with progress.phase("load"):
        bench = set_up(given, progress, ranks)
        _require_trainable(bench)
    _say_start(bench)
    with progress.phase("encode", DOCUMENTS, _documents(given)):
        texts = _encode(bench)
        skills = Skills.of(bench)
    # Before training, on text that the parent never saw: afterwards its loss says nothing of how strange it is.
    with progress.phase("plausibility", TOKENS, prequential_tokens(bench, texts.fresh, texts.replay)):
        new_text = prequential(bench, texts.fresh, texts.replay)
        why = "" if given.spec.approved else implausible(new_text.documents, given.spec.plausibility, given.spec.kind)
    if why:
        return _report(bench, Outcome.IMPLAUSIBLE, why, new_text)
    if given.spec.lacking:
        return _report(bench, Outcome.NOT_JUDGEABLE, given.spec.lacking, new_text)
    material = _material(bench, texts)
    if not material.steps:
        why = f": {texts.fresh.refused[0]}" if texts.fresh.refused else ""
        return _report(bench, Outcome.EMPTY, f"the new text holds nothing to train on{why}", new_text)
    if note := replay_note(material.replay_ratio, len(texts.replay), given.spec.recipe):
        progress.say("replay_capped", reason=note)
    to_score = tokens_to_score(bench, texts.slices) + tokens_to_score_again(bench, texts.slices)
    with progress.phase("score", TOKENS, to_score):
        base, parent = earlier_scores(bench, texts.slices)
        best = best_scores(bench, texts.slices)
    with skills.phase():
        earlier_answers = skills.ask_earlier()
    keeps_adapter, merge_note = stays_adapter(bench)
    # Not before the parent was scored: what serves, and is to be bettered, is the parent as it is stored. An adapter
    # lies on just that, and holds in float32 what is learned.
    if not keeps_adapter and not bench.trains_as_stored:
        add_residuals(bench.model, bench.residuals(PARENT, bench.model))
    trained = divide(bench)
    importance, moments = RoundImportance(trained), RoundMoments(given, progress, ranks)
    earlier = importance.before(texts.replay, material.tokens)
    rows = grow_for_new_labels(bench, texts.fresh, texts.replay)
    short = maps_of(bench.model) if given.spec.recipe.adapter_base == "4bit" else ()
    adapter = attach_adapter(bench, rows)
    _shorten(bench, short)
    try:
        with progress.phase("train", SEQUENCES, material.sequences, most_seconds=given.spec.recipe.max_seconds):
            pull = partial(pull_of, trained, earlier, rows, adapter)
            training = train_round(trained, material, pull, adapter, given=texts, moments=moments)
    except Diverged as error:
        return _report(bench, Outcome.DIVERGED, str(error), new_text)
    _make_exact(bench, short, keeps_adapter=keeps_adapter)
    after = partial(importance.after, texts.fresh, earlier, training.tokens_new + training.tokens_replayed)
    measured = _gathered(bench, trained, after)
    made = _candidates(bench, adapter, keeps_adapter=keeps_adapter, measured=measured, rows=rows)
    del earlier, pull, after, measured  # They hold importance, which is as large as the model each time.
    found = _scored(bench, made, texts.slices, skills, parent=parent, base=base)
    summary = _summary(bench, training, texts.fresh, note, merge_note)
    summary = replace(summary, importance_sequences=importance.sequences, moments_note=moments.note)
    return replace(
        _with_touched(_report(bench, Outcome.TRAINED, "", new_text), summary, material, training, given.fresh),
        slices=join_scores(base, parent, best, found.slices),
        skills=skills.scores(earlier_answers, found.answers),
        stopped=found.stopped,
    )


def _require_trainable(bench: Workbench) -> None:
    require_adapter_fits(bench)
    require_shardable(bench)


def _shorten(bench: Workbench, short: Sequence[str]) -> None:
    """Hold weights in fewer bits while the model is trained: these maps, or what is stored in bfloat16."""
    hold_in_four_bits(bench.model, short, bench.device.compute)
    if bench.trains_as_stored:
        take_stored_dtype(bench.model, bench.load(PARENT, device=CPU, dtype=None))


def _make_exact(bench: Workbench, short: Sequence[str], *, keeps_adapter: bool) -> None:
    """Undo `_shorten`: what was learned is merged into stored weights, and no candidate has any of the short ones."""
    if bench.trains_as_stored:
        take_float32(bench.model)
    if not short:
        return
    exact = bench.load(PARENT, device=bench.device.where, dtype=torch.float32)
    if not keeps_adapter:
        add_residuals(exact, bench.residuals(PARENT, exact))
    give_back(bench.model, short, exact)


def _gathered(
    bench: Workbench, trained: Workbench, measured: Callable[[], Importance | None]
) -> Callable[[], Importance | None]:
    """Give the bench the trained weights where they are divided, and return what tells their importance.

    That is then measured before: the sums of squares, too, would be as large as the model on each device.
    """
    if not bench.is_sharded:
        return measured
    importance = measured()
    make_whole(bench, trained)
    return lambda: importance


def _candidates(
    bench: Workbench,
    adapter: Adapter | None,
    *,
    keeps_adapter: bool,
    measured: Callable[[], Importance | None],
    rows: GrownRows | None,
) -> Candidates:
    """What the trained model can be made into; an adapter is merged into it here."""
    learned = adapter.learned() if adapter is not None and keeps_adapter else None
    changed = None if adapter is None else adapter.weights.keys()
    if adapter is not None:
        adapter.merge()
    # Of the trained result itself, before candidates overwrite its weights to be scored.
    importance = measured()
    if learned is not None:
        return adapter_candidates(bench, learned, importance)
    return trained_candidates(bench, importance, rows=rows, changed=changed)


def _scored(
    bench: Workbench,
    made: Candidates,
    slices: Mapping[str, Encoded],
    skills: Skills,
    *,
    parent: SliceScored,
    base: SliceScored,
) -> ScoredCandidates:
    count = len(set(bench.given.spec.recipe.interpolation))
    tokens = count * (skills.tokens + sum(len(text.tokens) for text in slices.values()))
    with bench.progress.phase("candidates", TOKENS, tokens):
        return score_candidates(bench, made, slices, skills, count=count, parent=parent, base=base)


def _with_touched(
    report: Report, summary: TrainingSummary, material: Material, training: Training, fresh: Sequence[RoundSample]
) -> Report:
    """The report that also says what training took, and what of the text it saw."""
    touched = find_touched(_steps_kept(material, training), material.new, material.replay, fresh)
    summary = replace(summary, tokens_touched=touched.tokens, tokens_drawn=touched.tokens_drawn)
    return replace(report, training=summary, touched=touched.ids, untrainable=touched.untrainable)


def _steps_kept(material: Material, training: Training) -> list[Step]:
    """The steps that led to the weights which were kept: lineage names no text that only later ones saw."""
    return material.steps[: training.early_stopped_at or training.steps]


def _documents(given: RoundInput) -> int:
    held_out = (piece.samples for piece in given.slices)
    return sum(map(len, (given.fresh, given.replay, given.early_stop, *held_out)))


def _say_start(bench: Workbench) -> None:
    bench.progress.say(
        "start",
        round=bench.given.spec.round,
        device=bench.device_name,
        precision=str(bench.device.compute).removeprefix("torch."),
        parameters=bench.parameters,
        packed=bench.shape.packed,
    )


def _encode(bench: Workbench) -> Texts:
    given, encode = bench.given, bench.encode
    texts = Texts(
        fresh=encode(given.fresh),
        replay=encode(given.replay),
        early_stop=encode(given.early_stop),
        slices={piece.name: encode(piece.samples) for piece in given.slices},
    )
    left_out = len(given.fresh) - len(texts.fresh) + len(given.replay) - len(texts.replay)
    if left_out:
        bench.progress.say("left_out", documents=left_out, reason="they have no label that the model has")
    for why, chats in _refused(texts).most_common():
        bench.progress.say("left_out", documents=chats, reason=why)
    return texts


def _refused(texts: Texts) -> Counter[str]:
    """Why chats are no material, and how many for each reason."""
    parts = (texts.fresh, texts.replay, texts.early_stop, *texts.slices.values())
    return Counter(why for text in parts for why in text.refused)


def _material(bench: Workbench, texts: Texts) -> Material:
    spec = bench.given.spec
    plan = StepPlan(spec.recipe, bench.shape, spec.seed, bench.device.where, compiles=spec.compile)
    return prepare(texts.fresh, texts.replay, plan)


def _report(bench: Workbench, outcome: Outcome, detail: str, new_text: NewText) -> Report:
    spec = bench.given.spec
    return Report(
        round=spec.round,
        kind=spec.kind,
        outcome=outcome,
        detail=detail,
        device=bench.device_name,
        prequential=new_text.documents,
        new_labels=new_text.new_labels,
        slices={},
        training=None,
        touched=None,
        untrainable=frozenset(),
        scored=bench.scored,
    )


def _summary(
    bench: Workbench, training: Training, fresh: Encoded, replay_note: str, merge_note: str
) -> TrainingSummary:
    text_bytes = sum(len(sample.text.encode()) for sample in fresh.samples)
    return TrainingSummary(
        steps=training.steps,
        tokens_new=training.tokens_new,
        tokens_replayed=training.tokens_replayed,
        seconds=training.seconds,
        tokens_per_second=training.tokens_per_second,
        losses=training.losses,
        micro_batch=bench.given.spec.recipe.micro_batch,
        peak_memory_bytes=max(bench.progress.phase_peak_bytes.values()),
        bytes_per_token=text_bytes / max(len(fresh.tokens), 1),
        early_stopped_at=training.early_stopped_at,
        phase_seconds=dict(bench.progress.phase_seconds),
        phase_peak_bytes=dict(bench.progress.phase_peak_bytes),
        replay_note=replay_note,
        merge_note=merge_note,
        checkpointing_note=bench.given.spec.checkpointing,
        compile_note=training.compile_note,
    )
