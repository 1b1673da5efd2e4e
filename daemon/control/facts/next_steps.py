"""What a person can do about a round, by what came of it: a sentence and a command for each step. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from daemon.control.answers.explained import NextStep
from daemon.rounds.begin_or_wait import DRY_RUN
from gate.checks.check import OF_TEXT, Check
from memory.ledger.history.canaries import CanaryRecord
from memory.ledger.records import AsideGroup, GenerationState, Round
from memory.ledger.states import UNFINISHED, RoundState


@dataclass(frozen=True, slots=True)
class Beside:
    """What is known beside a round's own line.

    Attributes:
        serving: the generation that serves now.
        state: of the generation that it made; None where it made none, or that is not known any more.
        kept: when its candidates are judged again, where they are kept; else empty.
        canary: that its generation is or was watched in traffic.
        aside: what it set aside and is aside still.
    """

    serving: int | None
    state: GenerationState | None
    kept: str
    canary: CanaryRecord | None
    aside: AsideGroup | None


def next_steps(round_: Round, beside: Beside, decided: Sequence[Check]) -> list[NextStep]:
    """What can be done now.

    Args:
        round_: of which that is asked.
        beside: what is known beside it.
        decided: the checks that decided, the most telling first.
    """
    match round_.state:
        case RoundState.WAITING:
            steps = _of_waiting(round_.number)
        case RoundState.ACCEPTED:
            steps = _after_acceptance(round_, beside)
        case RoundState.REFUSED:
            steps = [*_of_aside(round_.number, beside.aside), *_after_refusal(round_, beside.kept, decided)]
        case RoundState.FAILED:
            see = _step("See what would fail on this machine: it rehearses a round.", "doctor")
            steps = [see, _step("Begin another one now.", "round begin --wait")]
        case state if state in UNFINISHED:
            steps = [_step("Let it be finished, or discarded, where no daemon runs.", "run")]
        case RoundState.ABANDONED if round_.trigger == DRY_RUN:
            steps = [_step("Train and promote what the gate accepts.", "round begin --wait")]
        case _:
            steps = []
    return steps


def _of_waiting(number: int) -> list[NextStep]:
    return [
        _step("Read its text, the least like earlier text first.", f"memory aside {number} --text --worst"),
        _step("Let it be trained on; the gate still judges what comes of it.", f"round approve {number}"),
        _step("Erase it for good.", f"round reject {number}"),
    ]


def _after_acceptance(round_: Round, beside: Beside) -> list[NextStep]:
    show = _step("See what each generation scores on each slice.", "generations")
    if beside.state is GenerationState.CANARY:
        return [
            show,
            _step("Let it serve at once, without waiting for traffic to tell.", f"rollback {round_.generation}"),
            _step("Take it back, and serve on with the generation beside it.", "rollback"),
        ]
    if beside.serving == round_.generation:
        return [show, _step("Serve the generation before it again.", "rollback")]
    if beside.state in (GenerationState.ACCEPTED, GenerationState.ROLLED_BACK):
        return [show, _step("Serve it again.", f"rollback {round_.generation}")]
    return [show]


def _of_aside(number: int, aside: AsideGroup | None) -> list[NextStep]:
    if aside is None:
        return []
    return [
        _step("Read what it set aside, the least like earlier text first.", f"memory aside {number} --text --worst"),
        _step("Let it be fresh again.", f"memory release {number}"),
        _step("Erase it for good.", f"memory drop {number}"),
    ]


def _after_refusal(round_: Round, kept: str, decided: Sequence[Check]) -> list[NextStep]:
    if kept:
        return [_step("Nothing: it is judged again by itself. To train anew instead:", "round begin")]
    if round_.verdict.get("unproven"):
        wanted = round_.verdict.get("evidence", 0)
        until = f" By itself the next round waits for {wanted:,} of the newest." if wanted else ""
        return [_step(f"More held-out text may prove what this could not.{until}", "status")]
    worst = next((check for check in decided if not check.name.startswith(OF_TEXT)), None)
    return [] if worst is None else [_advice(round_, worst)]


def _advice(round_: Round, worst: Check) -> NextStep:
    """What most probably helps against the failure that told most."""
    if worst.is_of_skill:
        return _step("See which prompts it answers wrongly now.", f"round show {round_.number}")
    if worst.name == "learned":
        return _step(
            "It learned too little: raise `learner.recipe.learning_rate` or `learner.recipe.epochs`, then try it.",
            "round begin --dry-run --wait",
        )
    return _step(
        "It forgot: raise `learner.recipe.replay_ratio` or `learner.recipe.kl`, or lower "
        "`learner.recipe.learning_rate`, then try it.",
        "round begin --dry-run --wait",
    )


def _step(text: str, command: str) -> NextStep:
    return {"text": text, "command": f"riverkeep {command}"}
