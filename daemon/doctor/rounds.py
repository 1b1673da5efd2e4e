"""What a round will take with these settings, by a rehearsal of it, and settings with which it fits."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from daemon.doctor.findings import Finding
from daemon.doctor.proposal import as_lines, to_be_installed, with_adapter
from daemon.doctor.rehearsal import FEWEST_STEPS, FailedRehearsal, RehearsalFigures, Subject, recipe_of, rehearse
from daemon.doctor.round_cost import Memory, RoundWork, Seconds, estimate_seconds, fit_memory, steps_within
from daemon.rounds.inputs import draw_spec
from daemon.settings.tree import Settings, with_recipe
from daemon.sizes.estimate import describe_parts, row_bytes, rows_at_once
from daemon.sizes.shape import ModelShape
from daemon.span import span
from gate.keys_wanted import keys_at_first
from learner.directory.progress_event import ProgressEvent
from memory.intake.held_out_share import steady_share
from memory.ledger.draw import fresh_budget
from memory.samples.records import Counts

GIB = 2**30
LIMIT_S = 900.0
"""A rehearsal that takes longer is ended."""
AFFORDED_S = 90.0
"""The second rehearsal has the settings' own micro-batch, or as large a one as this leaves time for."""
USED = 0.9
"""Of the memory that is free, a rehearsal is to take so much at most."""
TIMED_S = 15.0
"""What the second rehearsal may take longer than two steps, so that its speed is that of a round."""
EXAMPLE_TOKENS = 100_000
TOKENS_PER_DOCUMENT = 200.0
WHAT_AN_ADAPTER_SAVES = "(no second model, and next to no optimizer)"
LONG_PHASES = {
    "score": "scoring held-out text",
    "train": "training",
    "importance": "importance",
    "candidates": "candidates",
}

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes of memory that are free, and what of them answering needs.

    Attributes:
        free: now.
        serving: what answering and a swap take of it.
        ranks: processes that a round is run by and that share what is left.
    """

    free: int
    serving: int
    ranks: int = 1

    @property
    def left(self) -> int:
        """For a round, or for each of its processes."""
        return max(0, self.free - self.serving) // self.ranks if self.ranks > 1 else self.free - self.serving


def examine(
    settings: Settings,
    subject: Subject,
    shape: ModelShape,
    room: Room,
    counts: Counts | None,
    *,
    may_checkpoint: bool = False,
    within: Path,
    say: Say,
) -> Iterator[Finding]:
    """Rehearse a round, and say what memory and time a real one takes.

    Args:
        settings: of the service.
        subject: what is rehearsed.
        shape: of the model.
        room: what memory there is.
        counts: of the memory; None where there is none yet.
        may_checkpoint: whether rounds that do not fit without compute activations again by themselves.
        within: the folder for what a rehearsal writes.
        say: told what is being done.
    """
    outcomes = list(rehearsals(subject, shape, room, within, say))
    if may_checkpoint and _ran_out(outcomes[0]) and not settings.learner.recipe.gradient_checkpointing:
        settings = with_recipe(settings, gradient_checkpointing=True)
        subject = replace(subject, settings=settings.learner)
        outcomes = list(rehearsals(subject, shape, room, within, say))
    measured = [outcome for outcome in outcomes if isinstance(outcome, RehearsalFigures)]
    failed = [outcome for outcome in outcomes if isinstance(outcome, FailedRehearsal)]
    if not measured:
        yield _no_rehearsal(failed[0], settings)
        return
    needed = fit_memory(measured, row_bytes(shape, settings.learner.recipe))
    yield _memory(settings, needed, room, measured, shape)
    largest = max(measured, key=lambda rehearsal: rehearsal.rows)
    work = replace(work_of(settings, counts, subject.width), prompts=subject.prompts)
    yield _time(settings, estimate_seconds(largest, settings.learner, settings.model.kind, work), work, largest)


def _ran_out(outcome: RehearsalFigures | FailedRehearsal) -> bool:
    return isinstance(outcome, FailedRehearsal) and outcome.for_memory


def rehearsals(
    subject: Subject, shape: ModelShape, room: Room, within: Path, say: Say
) -> Iterator[RehearsalFigures | FailedRehearsal]:
    """Rehearse with a single row, which shows what can be afforded, then with the settings' rows or as many as that."""
    recipe = subject.settings.recipe
    rows_wanted = rows_at_once(recipe)
    first = _rehearse(subject, 1, within, say)
    yield first
    if isinstance(first, FailedRehearsal) or rows_wanted == 1:
        return
    # A rehearsal too quick to be measured must not divide by nothing.
    by_time = int(AFFORDED_S / max(_changing_seconds(first, subject), 1e-9))
    by_memory = 1 + int(max(0.0, USED * room.left - first.peak) / row_bytes(shape, recipe))
    # Two at least, however long they take: one alone does not show what each further row costs.
    rows = min(rows_wanted, max(2, by_time), by_memory)
    if rows > 1:
        yield _rehearse(subject, rows, within, say, subject.steps_within(TIMED_S, first.trained_per_second, rows))


def _changing_seconds(first: RehearsalFigures, subject: Subject) -> float:
    """Seconds of a rehearsal with one row that grow with the rows."""
    recipe = recipe_of(subject, 1)
    trained = FEWEST_STEPS * recipe.batch_sequences * first.width / first.trained_per_second
    return trained + (2 + len(set(recipe.interpolation))) * first.width / first.scored_per_second


def _rehearse(
    subject: Subject, rows: int, within: Path, say: Say, steps: int = FEWEST_STEPS
) -> RehearsalFigures | FailedRehearsal:
    say(
        f"Rehearsing a round of {steps} steps, {rows} {'row' if rows == 1 else 'rows'} of {subject.width} tokens a "
        "pass …"
    )
    return rehearse(subject, rows, steps=steps, seconds=LIMIT_S, within=within, on_progress=partial(_tell, say))


def _tell(say: Say, event: ProgressEvent) -> None:
    if event.event == "phase" and (phase := LONG_PHASES.get(event.name)):
        say(f"  {event.seconds:.0f} s: {phase}")


def _no_rehearsal(failed: FailedRehearsal, settings: Settings) -> Finding:
    recipe = settings.learner.recipe
    if not failed.for_memory:
        return Finding("a round", ok=False, detail=failed.why, remedy="Mend what it names; then run this again.")
    shorter = f"`learner.recipe.sequence_length = {max(8, recipe.length // 2)}`"
    saving = "" if recipe.gradient_checkpointing else "`learner.recipe.gradient_checkpointing = true`, then "
    return Finding(
        "memory",
        ok=False,
        detail=f"a round ran out of memory with one row a pass: {failed.why}",
        remedy=f"Set `learner.recipe.micro_batch = 1` with {saving}{shorter}"
        f"{f', or {adapter}' if (adapter := adapter_lines(settings)) else ''}, or take a smaller model; then run this "
        "again.",
    )


def _memory(
    settings: Settings, needed: Memory, room: Room, measured: list[RehearsalFigures], shape: ModelShape
) -> Finding:
    recipe = settings.learner.recipe
    rows_wanted = rows_at_once(recipe)
    fitting = needed.most_rows(room.left)
    rows = " and ".join(str(rehearsal.rows) for rehearsal in measured)
    detail = (
        f"{room.free / GIB:.1f} GiB free; {room_of_each(room)} needs about {needed.of(rows_wanted) / GIB:.1f} GiB "
        f"(rehearsed with "
        f"{rows} rows of {measured[0].width} tokens a pass), answering and a swap {room.serving / GIB:.1f} GiB; "
    )
    detail += f"`micro_batch` up to {fitting} fits" if fitting else "no `micro_batch` fits"
    return Finding(
        shape.memory_name,
        ok=fitting >= rows_wanted,
        detail=f"{detail}; {describe_parts(shape, recipe)}",
        remedy=_fitting_settings(settings, needed, room.left, fitting),
    )


def room_of_each(room: Room) -> str:
    """Return what needs so much memory: a round, or each of its processes where they share it."""
    return "a round" if room.ranks == 1 else f"each of a round's {room.ranks} processes"


def _fitting_settings(settings: Settings, needed: Memory, room_left: int, fitting: int) -> str:
    """The lines to set where a round does not fit."""
    recipe = settings.learner.recipe
    if fitting:
        return f"Set `learner.recipe.micro_batch = {fitting}`: the same round in more passes."
    if not recipe.gradient_checkpointing:
        return (
            "Set `learner.recipe.micro_batch = 1` and `learner.recipe.gradient_checkpointing = true`, and run this "
            "again: what that saves only a rehearsal tells."
        )
    if longest := needed.longest(room_left):
        return f"Set `learner.recipe.micro_batch = 1` and `learner.recipe.sequence_length = {longest}`."
    if adapter := adapter_lines(settings):
        return f"Set {adapter}, and run this again: what that saves only a rehearsal tells."
    return "Take a smaller model or a larger machine: its weights and their optimizer alone do not fit."


def adapter_lines(settings: Settings) -> str:
    """Return the lines with which an adapter is trained, and what that saves; empty where they would be refused."""
    change = with_adapter(settings.learner)
    return "" if change is None else f"{as_lines(change)}{to_be_installed(change)} {WHAT_AN_ADAPTER_SAVES}"


def work_of(settings: Settings, counts: Counts | None, width: int) -> RoundWork:
    """What a round will have to do, by the triggers and by what the memory holds."""
    (documents, tokens_each), memory = _text(settings, counts), settings.memory
    # Documents are cut, of pairs both parts.
    cut = {"classifier": width, "seq2seq": 2 * width}.get(settings.model.kind, math.inf)
    tokens_read = min(tokens_each, cut)
    documents = min(documents, fresh_budget(draw_spec(settings), memory) / tokens_each)
    keys = keys_at_first(settings.model.kind, settings.gate.minimum_documents)
    share = steady_share(int(documents), keys, memory)
    new = min(memory.slice_documents, documents * share / (1 - share))
    earlier = memory.anchor_documents if counts is None else counts.holdout_samples - counts.open_holdout
    return RoundWork(
        new_tokens=int(documents * tokens_read),
        tokens_per_document=tokens_read,
        held_out_new=int(new * tokens_read),
        held_out=int(min(memory.evaluation_documents, new + earlier) * tokens_read),
        held_out_most=int(min(memory.evaluation_documents, memory.holdout_documents) * tokens_read),
    )


def _text(settings: Settings, counts: Counts | None) -> tuple[float, float]:
    """New documents of a round, and tokens of each in the mean."""
    tokens_each = TOKENS_PER_DOCUMENT
    if counts is not None and (samples := counts.fresh_samples + counts.replay_samples):
        tokens_each = max(1.0, (counts.fresh_tokens + counts.replay_tokens) / samples)
    triggers = settings.triggers
    waiting = 0 if counts is None else counts.fresh_samples
    if triggers.fresh_tokens is not None:
        return triggers.fresh_tokens / tokens_each, tokens_each
    return triggers.fresh_samples or waiting or EXAMPLE_TOKENS / tokens_each, tokens_each


def _time(settings: Settings, duration: Seconds, work: RoundWork, measured: RehearsalFigures) -> Finding:
    interval = settings.triggers.interval_seconds
    fits = interval is None or duration.total <= interval
    steps = steps_within(duration, interval or 0.0)
    return Finding(
        "a round's time",
        ok=fits,
        detail=f"about {span(duration.total)} for {work.new_tokens:,} new tokens: training "
        f"{span(duration.training + duration.early_stopping)} ({duration.steps:,} steps, "
        f"{measured.trained_per_second:,.0f} tokens/s), scoring {span(duration.scoring)}, "
        f"candidates {span(duration.candidates)}{_skills(duration, work)} (rehearsed beside what runs now"
        f"{_on_one_device(settings)}); "
        f"{_evaluation(settings, duration)}",
        remedy=f"Rounds begin each {span(interval or 0.0)}: set `learner.recipe.max_steps = {steps}`, or a longer "
        "`triggers.interval_seconds`."
        if steps
        else "Rounds begin too often even for one step: set a longer `triggers.interval_seconds`.",
    )


def _on_one_device(settings: Settings) -> str:
    return "" if settings.learner.devices == 1 else ", on one device: several divide training and scoring"


def _skills(duration: Seconds, work: RoundWork) -> str:
    return f", asking {work.prompts:,} prompts of skills {span(duration.skills)}" if work.prompts else ""


def _evaluation(settings: Settings, duration: Seconds) -> str:
    """What the evaluation takes of a round, and what it would take with as much held-out text as it may have."""
    most = settings.memory.evaluation_documents
    whole = duration.total - duration.evaluation + duration.evaluation_most
    return (
        f"held-out text is {span(duration.evaluation)} of it ({duration.evaluation / duration.total:.0%}), and "
        f"{span(duration.evaluation_most)} ({duration.evaluation_most / whole:.0%}) once there is as much as "
        f"`memory.evaluation_documents = {most}` lets in"
    )
