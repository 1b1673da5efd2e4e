"""What a round does now, for a person."""

from daemon.control.answers.status import RoundStanding
from daemon.rounds.current import PhaseWork


def describe_phase(current: RoundStanding) -> str:
    """Its phase, how much of how much of that is done, and when it ends.

    Args:
        current: the round in progress, as the status has it.
    """
    steps = f", step {current['step']:,} of {current['steps']:,}" if current.get("steps") else ""
    steps += f" (went on from step {since:,})" if (since := current.get("gone_on_from", 0)) else ""
    work = current.get("work")
    return f"{current['phase']}{steps}{'' if work is None else f', {PhaseWork(**work).sentence()}'}"
