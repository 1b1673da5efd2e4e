"""Figures of rounds as sentences, whoever shows them. Pure."""

from collections.abc import Sequence
from typing import Final

from daemon.control.answers.rounds import LeftOutPart, RoundLine
from daemon.control.answers.status import LastRoundStanding, RoundStanding
from daemon.rounds.current import PhaseWork

LEFT_OUT: Final = {
    "fresh": "fresh samples, which wait for the next round",
    "over_quota": "fresh samples of keys that have more than their quota",
    "holdout": "held-out documents, on which it is not judged",
}


def describe_phase(current: RoundStanding) -> str:
    """What the round in progress does now, how much of how much of that is done, and when it ends."""
    steps = f", step {current['step']:,} of {current['steps']:,}" if current.get("steps") else ""
    steps += f" (went on from step {since:,})" if (since := current.get("gone_on_from", 0)) else ""
    steps += f", waits for {what}" if (what := current.get("waits_for", "")) else ""
    work = current.get("work")
    return f"{current['phase']}{steps}{'' if work is None else f', {PhaseWork(**work).sentence()}'}"


def early_stop_part(facts: RoundLine | RoundStanding) -> str:
    """Fresh text of a round that is not trained on, so that the counts add up."""
    apart = facts.get("early_stop_samples", 0)
    return f" and {apart:,} more to tell when to stop" if apart else ""


def trained_part(round_: RoundLine | LastRoundStanding) -> str:
    """How much of the new text was trained on; of an accepted round the rest stays fresh."""
    trained, drawn = round_.get("tokens_trained"), round_.get("tokens_drawn")
    if trained is None or not drawn:
        return ""
    remainder = f" within `{until}`" if (until := round_.get("trained_until")) else ""
    remainder += "; the rest stays fresh" if trained < drawn and round_["state"] == "accepted" else ""
    return f" Trained on {trained:,} of {drawn:,} new tokens ({trained / drawn:.1%}){remainder}."


def left_out_sentence(parts: Sequence[LeftOutPart]) -> str:
    """What a round was not given for a setting's sake, with the settings' names."""
    named = (f"{part['documents']:,} {LEFT_OUT[part['what']]} (`{part['setting']}`)" for part in parts)
    return f"Left out: {'; '.join(named)}."
