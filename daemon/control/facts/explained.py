"""Why a round began, what decided it, and what can be done now: the ledger's facts as sentences."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from checkpoints.json_files import null_for_nan, read_json
from daemon.control.answers.explained import CriterionLine, ExplainedRound, NextStep
from daemon.control.answers.status import RoundStanding
from daemon.control.facts.next_steps import Beside, next_steps
from daemon.control.facts.rounds import round_line
from daemon.control.facts.words import describe_phase, early_stop_part, left_out_sentence, trained_part
from daemon.control.wording import begun
from daemon.rounds.begin_or_wait import DRY_RUN
from daemon.rounds.watched.sentence import sentence_of
from gate.checks.check import Check
from gate.checks.stopped_scoring import stopped_sentences
from gate.verdict import deciding
from memory.errors import UnknownGeneration
from memory.ledger.history.canaries import CanaryRecord
from memory.ledger.records import GenerationState, Round
from memory.ledger.states import UNFINISHED, RoundState
from memory.store import Store

LATER = {
    RoundState.RELEASED: "It waited for a person, who approved it: its text is fresh again.",
    RoundState.DROPPED: "It waited for a person, who rejected it: its text is erased.",
}


def beside(store: Store, round_: Round, kept: str) -> Beside:
    """What the store knows beside a round's own line; `kept` as in `Beside`."""
    return Beside(
        serving=store.generations.serving(),
        state=None if round_.generation is None else _state_of(store, round_.generation),
        kept=kept,
        canary=store.canaries.of_round(round_.number),
        aside=next((group for group in store.aside.groups() if group.round == round_.number), None),
    )


def _state_of(store: Store, generation: int) -> GenerationState | None:
    """Of one alone: there may be thousands. None where it is no longer listed."""
    try:
        return store.generations.read(generation).state
    except UnknownGeneration:
        return None


def explained_round(round_: Round, beside: Beside) -> ExplainedRound:
    """A round in sentences."""
    line, checks = round_line(round_), [_check(fields) for fields in round_.verdict.get("checks", ())]
    known = [check for check in checks if check is not None]
    decided = deciding(known)
    others = [check for check in known if check not in decided]
    return {
        "number": line["number"],
        "state": line["state"],
        "outcome": line["outcome"],
        "began": _began(round_),
        "ended": _ended(round_, beside),
        "criteria": [
            *(_criterion(check, decided=True) for check in decided),
            *(_criterion(check, decided=False) for check in others),
        ],
        "next": next_steps(round_, beside, decided),
    }


def in_progress(answer: ExplainedRound, current: RoundStanding) -> ExplainedRound:
    """The answer with what the round does, as it runs now."""
    step: NextStep = {"text": "Call it off without effect.", "command": "riverkeep round cancel"}
    return answer | {"ended": [f"It is in progress: {describe_phase(current)}."], "next": [step]}


def _began(round_: Round) -> list[str]:
    line = round_line(round_)
    why = f"It began because {round_.reason}." if round_.reason else f"It was begun {begun(round_.trigger)}."
    sentences = [why]
    if round_.trigger == DRY_RUN and round_.reason:
        sentences.append("It was a dry run: judged, and never promoted.")
    if round_.released_from is not None:
        sentences.append(f"Its text is that of round {round_.released_from}, which waited and was approved.")
    if round_.trained_in is not None:
        sentences.append(f"It trained nothing: it judged again what round {round_.trained_in} had trained.")
    sentences.append(
        f"It was given {round_.fresh_samples:,} new documents ({round_.fresh_tokens:,} tokens){early_stop_part(line)} "
        f"and {round_.replay_samples:,} replayed ones ({round_.replay_tokens:,} tokens), on top of generation "
        f"{round_.parent_generation}.{trained_part(line)}"
    )
    if line["left_out"]:
        sentences.append(left_out_sentence(line["left_out"]))
    return sentences


def _ended(round_: Round, beside: Beside) -> list[str]:
    sentences = [_outcome(round_), *stopped_sentences(round_.verdict)]
    if not round_.verdict and round_.state in (RoundState.ACCEPTED, RoundState.REFUSED):
        sentences.append("The verdict's figures of so old a round are not kept any more.")
    if round_.state in (RoundState.REFUSED, RoundState.WAITING):
        sentences.append(f"Generation {round_.parent_generation} went on serving.")
    if beside.aside is not None:
        held_out = f" and {beside.aside.held_out:,} held out" if beside.aside.held_out else ""
        sentences.append(f"{beside.aside.samples:,} documents to train on{held_out} are set aside with it.")
    elif round_.state is RoundState.REFUSED:
        sentences.append("Its text went back to what is fresh, or aside where it was refused too often.")
    elif round_.state in (RoundState.FAILED, RoundState.ABANDONED):
        sentences.append("Its text stayed fresh, for the next round.")
    if beside.canary is not None:
        sentences.append(_in_traffic(beside.canary))
    if beside.kept:
        sentences.append(f"{beside.kept[0].upper()}{beside.kept[1:]}.")
    return sentences


def _outcome(round_: Round) -> str:
    detail = round_.detail or "nothing more is known"
    if round_.state in LATER:
        return f"{LATER[round_.state]} Why it waited: {detail}"
    if round_.state in UNFINISHED:
        return "It has not ended; where it was cut off, the next start finishes or discards it by itself."
    words = {
        RoundState.ACCEPTED: f"The gate accepted it as generation {round_.generation}",
        RoundState.REFUSED: "The gate refused it",
        RoundState.WAITING: "It waits for a person's word",
        RoundState.FAILED: "It failed and has no verdict",
        RoundState.ABANDONED: "It ended without effect",
    }
    return f"{words[round_.state]}: {detail}{'' if detail.endswith('.') else '.'}"


def _in_traffic(canary: CanaryRecord) -> str:
    if canary.ended_at is None:
        said = sentence_of(canary, canary.verdict.get("sentence", ""))
        return f"{said[0].upper()}{said[1:]}."
    outcome = canary.outcome.replace("_", " ")
    by = f" by {canary.ended_by}" if canary.ended_by else ""
    said = canary.verdict.get("sentence", "")
    return f"Watched in traffic, generation {canary.generation} was {outcome}{by}.{f' {said}' if said else ''}"


def _check(fields: Mapping[str, Any]) -> Check | None:
    """A check as the ledger has it; None for one of a version that is not understood."""
    try:
        # Verdicts of earlier versions do not name their units.
        return read_json(Check, json.dumps({"unit": "", **fields}).encode())
    except ValidationError:
        return None


def _criterion(check: Check, *, decided: bool) -> CriterionLine:
    try:
        sentence = check.sentence()
    except KeyError:
        sentence = f"{check.name} on {check.slice} is {check.figure:.3f}, the bound {check.bound:.3f}"
    return {
        "name": check.name,
        "slice": check.slice,
        "figure": null_for_nan(check.figure),
        "bound": null_for_nan(check.bound),
        "lower": null_for_nan(check.lower),
        "upper": null_for_nan(check.upper),
        "unit": check.unit,
        "documents": check.documents,
        "keys": check.keys,
        "passed": check.passed,
        "unproven": check.unproven,
        "decided": decided,
        "sentence": sentence,
    }
