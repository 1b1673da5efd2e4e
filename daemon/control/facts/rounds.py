"""Rounds and generations, as the ledger has them."""

import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from weakref import WeakKeyDictionary

from daemon.control.answers.rounds import (
    GenerationLine,
    GenerationsAnswer,
    RoundAnswer,
    RoundAttempt,
    RoundLine,
    RoundSamplesAnswer,
    ScoreLine,
    SkillLine,
)
from daemon.control.facts.history import canary_line
from daemon.control.facts.knowledge import ROUNDS_JUDGED, judged_rounds, knowledge_standing, learned_lines
from daemon.control.facts.records import place
from daemon.rounds.event import outcome_of
from gate.ledger_reading import read_ledger
from gate.scores import way_of
from gate.skills.known_skills import comparable
from memory.ledger.history.attempts import Attempt
from memory.ledger.history.canaries import CanaryRecord
from memory.ledger.records import Generation, Round, ScoreRow, TrainedSample
from memory.ledger.skills.skill_scores import SkillRow
from memory.samples.slice_names import in_order
from memory.store import Store
from streams.document import partition_name


def round_line(round_: Round) -> RoundLine:
    """A round in a line: without recipe, verdict and report."""
    training = round_.report.get("training") or {}
    return {
        "number": round_.number,
        "state": round_.state.value,
        "outcome": outcome_of(round_),
        "trigger": round_.trigger,
        "parent": round_.parent_generation,
        "generation": round_.generation,
        "released_from": round_.released_from,
        "trained_in": round_.trained_in,
        "begun_at": round_.begun_at,
        "ended_at": round_.ended_at,
        "detail": round_.detail,
        "fresh_samples": round_.fresh_samples,
        "fresh_tokens": round_.fresh_tokens,
        "replay_samples": round_.replay_samples,
        "replay_tokens": round_.replay_tokens,
        "early_stop_samples": round_.early_stop_samples,
        "tokens_trained": training.get("tokens_touched"),
        "tokens_drawn": training.get("tokens_drawn"),
        "trained_until": _bound_of_training(round_.recipe, training),
        "left_out": [
            {"what": part.what, "documents": part.documents, "setting": part.setting} for part in round_.left_out
        ],
    }


def _bound_of_training(recipe: Mapping[str, Any], training: Mapping[str, Any]) -> str | None:
    """The setting that ended a training which did not see all new text."""
    trained, drawn = training.get("tokens_touched"), training.get("tokens_drawn")
    if trained is None or drawn is None or trained >= drawn:
        return None
    # Time and steps show by themselves that they ran out. The budget of tokens leaves no trace: it comes last.
    reached = {
        "max_seconds": training.get("seconds"),
        "max_steps": training.get("steps"),
    }
    for name, figure in reached.items():
        if (most := recipe.get(name)) is not None and figure is not None and figure >= most:
            return f"learner.recipe.{name}"
    if training.get("early_stopped_at") is not None:
        return "learner.recipe.early_stop_patience"
    return None if recipe.get("max_tokens") is None else "learner.recipe.max_tokens"


def round_in_full(
    round_: Round, kept: str = "", canary: CanaryRecord | None = None, directory: Path | None = None
) -> RoundAnswer:
    """A round with everything the ledger holds of it.

    Args:
        round_: that it tells of.
        kept: when its candidates are judged again, where they are kept; else empty.
        canary: that its generation is or was watched in traffic.
        directory: of the round, where there is one.
    """
    return {
        **round_line(round_),
        "base": round_.base_generation,
        "seed": round_.seed,
        "recipe": dict(round_.recipe),
        "verdict": dict(round_.verdict),
        "report": dict(round_.report),
        "offsets": {partition_name(partition): list(ends) for partition, ends in round_.offsets.items()},
        "kept": kept,
        "canary": None if canary is None else canary_line(canary),
        "directory": None if directory is None else str(directory),
    }


def round_samples(
    number: int,
    samples: Sequence[TrainedSample],
    sources: Iterable[tuple[str, str | None, int]],
    *,
    limit: int,
    lineage_from: int,
) -> RoundSamplesAnswer:
    """A page of the samples that a round was given. `samples` has one more than `limit` where there is another page."""
    page = samples[:limit]
    # An empty page may be the end of a list, or a list that is not kept any more.
    gone = not samples and number < lineage_from
    note = f"Which samples rounds before {lineage_from} were given is not known any more (`memory.lineage_rounds`)."
    return {
        "round": number,
        "samples": [
            {
                "id": sample.sample_id,
                "part": sample.part,
                "weight": sample.weight,
                **place(sample.partition, sample.offset),
            }
            for sample in page
        ],
        "sources": [{"part": part, "source": source, "samples": count} for part, source, count in sources],
        "next": page[-1].sample_id if len(samples) > limit else None,
        "note": note if gone else "",
    }


# Thousands of lines and scores, which pages and people ask for again and again and a round changes now and then.
ATTEMPTS: Final = 200
"""Latest rounds of which it is told what they began from."""
_remembered: Final[WeakKeyDictionary[Store, tuple[object, GenerationsAnswer]]] = WeakKeyDictionary()
_lock: Final = threading.Lock()


def generations(store: Store, grounds: Mapping[int, int], twin: Mapping[int, float]) -> GenerationsAnswer:
    """The generations, which serves, and R: by generation, within one by slice in the order of `slice_names`.

    Whoever is given it changes nothing in it: the same is given until the ledger stands otherwise.

    Args:
        store: of the ledger.
        grounds: what each generation on disk lies on that is an adapter.
        twin: what a naive twin forgot, by round.
    """
    with _lock:
        saw_erased = store.people.saw_erased_text()
        key = (store.rounds.standing(), store.generations.count(), dict(saw_erased), dict(grounds), dict(twin))
        known_at, answer = _remembered.get(store, (None, None))
        if answer is None or known_at != key:
            answer = _generations(store, saw_erased, grounds, twin)
            _remembered[store] = key, answer
        return answer


def _generations(
    store: Store, saw_erased: Mapping[int, bool], grounds: Mapping[int, int], twin: Mapping[int, float]
) -> GenerationsAnswer:
    reading, skills = read_ledger(store), store.generations.skill_scores()
    alike = comparable(skills, -1 if (serving := store.generations.serving()) is None else serving)
    matrix = sorted(store.generations.score_matrix(), key=lambda entry: (entry.generation, in_order(entry.slice)))
    of_generation: defaultdict[int, list[ScoreRow]] = defaultdict(list)
    for entry in matrix:
        of_generation[entry.generation].append(entry)
    ways = {number: way_of(rows, number) for number, rows in of_generation.items()}
    lengths = {number: None if way is None else way.sequence_length for number, way in ways.items()}
    return {
        "serving": serving,
        "knowledge": knowledge_standing(reading.knowledge),
        "judged": judged_rounds(store.rounds.listed(limit=ROUNDS_JUDGED)),
        "learned": learned_lines(reading),
        "attempts": [attempt_line(attempt) for attempt in store.rounds.attempts(ATTEMPTS)],
        "twin": [{"round": number, "forgotten": forgotten} for number, forgotten in sorted(twin.items())],
        "generations": [
            generation_line(generation, saw_erased, lengths, grounds) for generation in store.generations.listed()
        ],
        "slices": sorted({entry.slice for entry in matrix}, key=in_order),
        "scores": [_score_line(entry) for entry in matrix],
        "skills": [_skill_line(row, is_comparable=row in alike) for row in skills],
    }


def attempt_line(attempt: Attempt) -> RoundAttempt:
    """What a round began from, and what came of it."""
    return {
        "round": attempt.number,
        "state": attempt.state.value,
        "parent": attempt.parent,
        "generation": attempt.generation,
        "begun_at": attempt.begun_at,
        "ended_at": attempt.ended_at,
        "offsets": {partition_name(partition): list(ends) for partition, ends in attempt.offsets.items()},
    }


def _skill_line(row: SkillRow, *, is_comparable: bool) -> SkillLine:
    return {
        "generation": row.generation,
        "skill": row.skill,
        "version": row.score.version[:12],
        "prompts": len(row.score.rights),
        "right": row.score.share,
        "scored": None if row.scored is None else row.scored.told,
        "comparable": is_comparable,
    }


def _score_line(entry: ScoreRow) -> ScoreLine:
    return {
        "generation": entry.generation,
        "slice": entry.slice,
        "mean_nll": entry.score.mean_nll,
        "tokens": entry.score.tokens,
        "documents": entry.score.documents,
        "accuracy": entry.score.accuracy,
        "macro_f1": entry.score.macro_f1,
        "scored": None if entry.scored is None else entry.scored.told,
    }


def generation_line(
    generation: Generation,
    saw_erased: Mapping[int, bool],
    lengths: Mapping[int, int | None],
    grounds: Mapping[int, int],
) -> GenerationLine:
    """A generation in a line.

    Args:
        generation: that it tells of.
        saw_erased: as `Store.people.saw_erased_text` gives it.
        lengths: of the sequences that each was scored in, in tokens; None where that is not known.
        grounds: what each generation on disk lies on that is an adapter.
    """
    return {
        "number": generation.number,
        "state": generation.state.value,
        "parent": generation.parent,
        "round": generation.round,
        "digest": generation.digest,
        "created_at": generation.created_at,
        "sequence_length": lengths.get(generation.number),
        "erased_text": erased_text(generation.number, saw_erased),
        "lies_on": grounds.get(generation.number),
    }


def erased_text(generation: int | None, saw_erased: Mapping[int, bool]) -> str | None:
    """Whether it was `trained` on text that was erased since, or `inherited` it; None where neither is known."""
    if generation is None or generation not in saw_erased:
        return None
    return "trained" if saw_erased[generation] else "inherited"
