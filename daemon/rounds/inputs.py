"""From a draw to a round directory that a learner can run."""

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from checkpoints.errors import CheckpointsError
from checkpoints.kinds import KINDS
from daemon.rounds.begin_or_wait import Ask
from daemon.rounds.directories import Rooms
from daemon.rounds.kept.kept_round import KeptRound
from daemon.rounds.record import RoundRecord
from daemon.settings.labels import answered_labels, labels_learned
from daemon.settings.tree import Settings
from daemon.sizes.job_resources import cores_of_job
from daemon.skills import guarded, known_rights
from gate.checks.proven_harm import harm_bounds
from gate.held_out import judged_by
from gate.judge import plausibility_bounds
from gate.plausible_new_text import plausible_history
from learner.devices.cores import usable_cores
from learner.directory.kept_candidates import read_kept
from learner.directory.report import WAY_OF_SCORING
from learner.directory.round_directory import (
    GenerationRef,
    RoundSlice,
    RoundSpec,
    read_round,
    read_spec,
    write_round,
)
from learner.directory.round_skills import KnownSkill, KnownSkills
from learner.errors import BadRoundDirectory
from learner.evaluation.text_plausibility import PrequentialSummary
from learner.skills.prompts import Skill
from memory.ledger.records import DocumentScore, DrawSpec, RoundDraw
from memory.ledger.scorings import Scoring, most_common
from memory.store import Store
from streams.decoding.several_labels import members
from streams.document import CORRECTIONS

HISTORY_SCANNED = 1_000


def draw_spec(settings: Settings) -> DrawSpec:
    """How much a round may draw by its recipe: no more fresh text than its token budget can train on.

    Nothing is kept apart for early stopping where the recipe never looks.
    """
    recipe = settings.learner.recipe
    ratio = recipe.replay_ratio
    return DrawSpec(
        # The recipe's budget counts replayed tokens with the new ones.
        fresh_tokens=None if recipe.max_tokens is None else max(1, int(recipe.max_tokens * (1 - ratio))),
        replay_ratio=ratio,
        early_stop_share=recipe.early_stop_share if recipe.early_stop_checks else 0.0,
        early_stop_documents=recipe.early_stop_documents,
        weights={CORRECTIONS.topic: recipe.correction_weight},
    )


def part_by_labels(
    draw: RoundDraw, settings: Settings, *, trained: Collection[str] | None = None
) -> tuple[RoundDraw, tuple[str, ...]]:
    """A draw without the documents whose label the round neither learns nor is judged by; and what its head grows.

    Args:
        draw: as the memory gave it.
        settings: of the service.
        trained: the labels that what is judged again has grown, whatever was named since; None where the round trains.
    """
    answered = answered_labels(settings, draw.parent_generation)
    if answered is None:
        return draw, ()
    new = labels_learned(settings, draw.fresh, answered)
    if trained is not None:
        new = tuple(label for label in new if label in trained)
    learned = {*answered, *new}
    fresh, replay, early_stop = (
        tuple(sample for sample in part if members(sample.label) <= learned)
        for part in (draw.fresh, draw.replay, draw.early_stop)
    )
    slices = tuple(judged_by(draw.slices, answered, lambda: new, minimum=settings.gate.minimum_documents))
    return replace(draw, fresh=fresh, replay=replay, early_stop=early_stop, slices=slices), new


def write_inputs(
    directory: Path,
    draw: RoundDraw,
    ask: Ask,
    rooms: Rooms,
    settings: Settings,
    *,
    lacking: str = "",
    best: int | None = None,
    kept: KeptRound | None = None,
    new_labels: tuple[str, ...] = (),
    skills: Sequence[Skill] = (),
) -> RoundRecord:
    """Write a round's directory, whole; what was there of an earlier attempt is removed first.

    Args:
        lacking, best, new_labels: as in `RoundSpec`.
        kept: the round whose candidates this one judges again; None where it trains.
        skills: what is asked of base, parent and candidates.

    Raises:
        OSError: the disk refused, or what is kept is not there; nothing remains.
        CheckpointsError: parent or base are missing or damaged.
        BadRecord, BadRoundDirectory: what is kept cannot be read.
    """
    record = replace(_recorded(draw, ask, kept, rooms), best=best, skills=guarded(skills, settings))
    kept_dir = None if kept is None else rooms.round_dir(kept.number)
    # The very text that was trained on: replayed samples may have left the memory since.
    text = draw if kept_dir is None else read_round(kept_dir)
    parent_scores = rooms.store.generations.document_scores(draw.parent_generation)
    reused = _way_of_reused(rooms, draw, settings)
    spec = _spec(draw, record, parent_scores, rooms, settings)
    spec = replace(spec, lacking=lacking, new_labels=new_labels, best=None if best is None else _ref(rooms, best))
    shutil.rmtree(directory, ignore_errors=True)
    try:
        write_round(
            directory,
            spec if kept_dir is None else _judging_again(spec, kept_dir),
            parent_dir=rooms.checkpoints.path(draw.parent_generation),
            base_dir=rooms.checkpoints.path(draw.base_generation),
            best_dir=None if best is None else rooms.checkpoints.path(best),
            kept_dir=kept_dir,
            fresh=text.fresh,
            replay=text.replay,
            early_stop=text.early_stop,
            slices=[RoundSlice(piece.name, piece.kind, piece.source, piece.samples) for piece in draw.slices],
            known_parent=scores_taken(rooms, draw.parent_generation, reused),
            known_base=scores_taken(rooms, draw.base_generation, reused),
            known_best={} if best is None else scores_taken(rooms, best, reused),
            skills=skills,
            known_skills=_known_skills(rooms, record, reused),
            scored=reused,
        )
        # Last: by this note recovery knows a directory whose learner may have begun.
        record.write(directory)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return record


def _way_of_reused(rooms: Rooms, draw: RoundDraw, settings: Settings) -> Scoring | None:
    """How scores were taken that the round need not take again; None: there are no such."""
    # A classifier's answers are not kept, only whether they were right: it is scored on everything again.
    by_token = KINDS[settings.model.kind].by_token
    return expected_way(rooms.store, draw.parent_generation, settings) if by_token else None


def _recorded(draw: RoundDraw, ask: Ask, kept: KeptRound | None, rooms: Rooms) -> RoundRecord:
    """The note on a round; of one that judges again, what was trained on is as it was, and a person's word holds on.

    Raises:
        BadRoundDirectory: the parent is not the one that was trained from, whatever its number.
    """
    record = RoundRecord.of(draw, dry_run=ask.dry_run, approved=ask.released_from is not None)
    if kept is None:
        return record
    directory = rooms.round_dir(kept.number)
    earlier, parent = RoundRecord.read(directory), read_spec(directory).parent
    if parent != _ref(rooms, record.parent):
        raise BadRoundDirectory(f"generation {record.parent} is not the one that round {kept.trained_in} trained from")
    return replace(record, approved=earlier.approved, data=earlier.data, trained_in=kept.trained_in, look=kept.look)


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
        devices=settings.learner.devices,
        compile=settings.learner.compile,
        sharded=settings.learner.sharded,
        # Written down, as the number of threads is part of what makes the weights.
        threads=settings.learner.threads or _cores(settings),
        plausibility=plausibility_bounds(history(rooms.store), level, settings.gate),
        plausibility_documents=settings.learner.plausibility_documents,
        approved=record.approved,
        save_seconds=settings.learner.save_seconds,
        harm=harm_bounds(record.slices, settings.gate),
    )


def _cores(settings: Settings) -> int:
    """Where the round runs; as many as are here where a Job does not say."""
    template_file = settings.jobs.template_file
    asked = None if template_file is None else cores_of_job(template_file)
    return usable_cores() if asked is None else asked


def _judging_again(spec: RoundSpec, kept_dir: Path) -> RoundSpec:
    """The candidates have the labels that they were trained with, whatever has come since."""
    return replace(spec, kept=read_kept(kept_dir), new_labels=read_spec(kept_dir).new_labels)


def _ref(rooms: Rooms, generation: int) -> GenerationRef:
    return GenerationRef(generation, rooms.checkpoints.digest(generation))


def expected_way(store: Store, generation: int, settings: Settings) -> Scoring | None:
    """In which way a round from this generation will take its scores, as far as that can be told; None: in a new one.

    Where settings leave device and precision open, the way in which most of the generation's own scores were taken.
    Only the learner knows what it runs on: it looks again, and scores anew what was taken in another way.
    """
    by_way = store.generations.scores_by_way(generation)
    taken = [how for how, scores in by_way.items() for _ in scores]
    # Of a refused round only what was answered is kept.
    taken += [row.scored for row in store.generations.skill_scores() if row.generation == generation]
    return most_common(how for how in taken if _may_be(how, settings))


def _may_be(how: Scoring | None, settings: Settings) -> bool:
    recipe, device = settings.learner.recipe, settings.learner.device.partition(":")[0]
    return (
        how is not None
        and (how.way, how.sequence_length) == (WAY_OF_SCORING, recipe.length)
        and device in ("auto", how.device)
        and recipe.precision in ("auto", how.precision)
    )


def scores_taken(rooms: Rooms, generation: int, how: Scoring | None) -> Mapping[int, DocumentScore]:
    """Scores of a generation that were taken in this way, by sample id; none where its files are not those scored."""
    if how is None or not _is_the_one_scored(rooms, generation):
        return {}
    return rooms.store.generations.scores_by_way(generation).get(how, {})


def _known_skills(rooms: Rooms, record: RoundRecord, how: Scoring | None) -> KnownSkills:
    """What parent and base are known to answer rightly of the skills as they are now."""
    known = known_rights(rooms.store, {skill.name: skill.version for skill in record.skills}, how)
    of_parent, of_base = (
        known.get(generation, {}) if _is_the_one_scored(rooms, generation) else {}
        for generation in (record.parent, record.base)
    )
    return {
        skill.name: KnownSkill(skill.version, of_parent.get(skill.name), of_base.get(skill.name))
        for skill in record.skills
    }


def _is_the_one_scored(rooms: Rooms, generation: int) -> bool:
    try:
        return rooms.store.generations.read(generation).digest == rooms.checkpoints.digest(generation)
    except CheckpointsError:
        return False


def history(store: Store) -> list[PrequentialSummary]:
    """Fresh text of earlier rounds that led to what serves, or whose text a person approved; oldest first."""
    rounds = store.rounds.listed(limit=HISTORY_SCANNED)
    return plausible_history(rounds, store.generations.serving_line())
