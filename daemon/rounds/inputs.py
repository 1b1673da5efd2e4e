"""From a draw to a round directory that a learner can run."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from daemon.rounds.begin_or_wait import Ask
from daemon.rounds.directories import Rooms
from daemon.rounds.record import RoundRecord
from daemon.settings.tree import Settings
from gate.judge import plausibility_bounds
from gate.text_bounds import plausible_history
from learner.devices.cores import usable_cores
from learner.directory.round_directory import (
    GenerationRef,
    RoundSlice,
    RoundSpec,
    write_round,
)
from learner.evaluation.text_plausibility import PrequentialSummary
from memory.ledger.records import DocumentScore, DrawSpec, RoundDraw
from memory.store import Store

HISTORY_SCANNED = 1_000


def draw_spec(settings: Settings) -> DrawSpec:
    """How much a round may draw by its recipe: no more fresh text than its token budget can train on.

    Nothing is kept apart for early stopping where the recipe never looks.
    """
    recipe = settings.learner.recipe
    ratio = recipe.replay_share(settings.model.kind)
    return DrawSpec(
        # The recipe's budget counts replayed tokens with the new ones.
        fresh_tokens=None if recipe.max_tokens is None else max(1, int(recipe.max_tokens * (1 - ratio))),
        replay_ratio=ratio,
        early_stop_share=recipe.early_stop_share if recipe.early_stop_checks else 0.0,
        early_stop_documents=recipe.early_stop_documents,
    )


def write_inputs(
    directory: Path,
    draw: RoundDraw,
    ask: Ask,
    rooms: Rooms,
    settings: Settings,
    *,
    lacking: str = "",
    best: int | None = None,
) -> RoundRecord:
    """Write a round's directory, whole; what was there of an earlier attempt is removed first.

    Args:
        lacking, best: as in `RoundSpec`.

    Raises:
        OSError: the disk refused; nothing remains.
        CheckpointsError: parent or base are missing or damaged.
    """
    record = RoundRecord.of(draw, dry_run=ask.dry_run, approved=ask.released_from is not None)
    record = replace(record, best=best)
    parent_scores = rooms.store.generations.document_scores(draw.parent_generation)
    compared = (draw.parent_generation, draw.base_generation)
    # After a rollback the base's may have been taken in a later round than the parent's.
    reusable = settings.model.kind == "causal-lm" and all(
        comparable(rooms.store, generation, settings) for generation in compared
    )
    known_parent = parent_scores if reusable else {}
    known_base = rooms.store.generations.document_scores(draw.base_generation) if reusable else {}
    known_best = _known_of_best(rooms, best, settings)
    shutil.rmtree(directory, ignore_errors=True)
    try:
        write_round(
            directory,
            replace(
                _spec(draw, record, parent_scores, rooms, settings),
                lacking=lacking,
                best=None if best is None else _ref(rooms, best),
            ),
            parent_dir=rooms.checkpoints.path(draw.parent_generation),
            base_dir=rooms.checkpoints.path(draw.base_generation),
            best_dir=None if best is None else rooms.checkpoints.path(best),
            fresh=draw.fresh,
            replay=draw.replay,
            early_stop=draw.early_stop,
            slices=[RoundSlice(piece.name, piece.kind, piece.source, piece.samples) for piece in draw.slices],
            known_parent=known_parent,
            known_base=known_base,
            known_best=known_best,
        )
        # Last: by this note recovery knows a directory whose learner may have begun.
        record.write(directory)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return record


def _spec(
    draw: RoundDraw,
    record: RoundRecord,
    parent_scores: Mapping[int, DocumentScore],
    rooms: Rooms,
    settings: Settings,
) -> RoundSpec:
    anchors = frozenset[int]().union(*(piece.documents for piece in record.slices if piece.kind == "anchor"))
    level = [(score.nll, score.tokens) for id_, score in parent_scores.items() if id_ in anchors]
    return RoundSpec(
        round=draw.number,
        kind=settings.model.kind,
        seed=draw.seed,
        parent=_ref(rooms, draw.parent_generation),
        base=_ref(rooms, draw.base_generation),
        recipe=settings.learner.recipe,
        device=settings.learner.device,
        # Written down, as the number of threads is part of what makes the weights.
        threads=settings.learner.threads or usable_cores(),
        plausibility=plausibility_bounds(history(rooms.store), level, settings.gate),
        plausibility_documents=settings.learner.plausibility_documents,
        approved=record.approved,
    )


def _known_of_best(rooms: Rooms, best: int | None, settings: Settings) -> Mapping[int, DocumentScore]:
    # A classifier's answers are not kept, only whether they were right: it is scored on everything again.
    if best is None or settings.model.kind != "causal-lm" or not comparable(rooms.store, best, settings):
        return {}
    return rooms.store.generations.document_scores(best)


def _ref(rooms: Rooms, generation: int) -> GenerationRef:
    return GenerationRef(generation, rooms.checkpoints.digest(generation))


def comparable(store: Store, generation: int, settings: Settings) -> bool:
    """Whether a generation's scores were taken in sequences as long as a round takes them now.

    More context makes a document easier: across a change of that setting scores differ by it, not by what was learned.
    """
    sequence_length = settings.learner.recipe.sequence_length
    # What no round has scored has no score that could mislead.
    return store.generations.scored_in().get(generation, sequence_length) == sequence_length


def history(store: Store) -> list[PrequentialSummary]:
    """Fresh text of earlier rounds that led to what serves, or whose text a person approved; oldest first."""
    rounds = store.rounds.listed(limit=HISTORY_SCANNED)
    return plausible_history(rounds, store.generations.serving_line())
