"""The table of operations: each once, with where it is asked for over HTTP, with what, and what it takes.

The admin surface's routes, its client and the commands follow from it. What an operation does is a method of `Control`,
whose signature says what it answers.
"""

from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import cached_property, partial
from inspect import Parameter, signature
from types import MappingProxyType
from typing import Any, Final, Literal, get_origin, get_type_hints

from daemon.control import arguments as given
from daemon.control.arguments import Arguments
from daemon.control.bounds import ROUND_ENDS_WITHIN_S
from daemon.control.protocol import Control

Ask = Callable[..., Any]

TEXT: Final = "text"
"""The argument by which operations give text as well."""
# Longer than a writer waits for a database that another program holds, so that this is what is told.
SOON_S: Final = 60.0
# An erasure compacts the store and takes seconds a gigabyte, and so does a search that reads over it; a replay
# decodes the whole quarantine.
LONG_S: Final = 3_600.0
# Longer than the answer itself waits for the learner, or the one who asked would be gone by then.
LEARNER_ENDS_S: Final = ROUND_ENDS_WITHIN_S + SOON_S


# Without slots: a cached property is kept in the instance's dictionary.
@dataclass(frozen=True)
class Operation:
    """One thing that can be asked of Riverkeep.

    Attributes:
        ask: the method of `Control`.
        path: on the admin surface; `{number}` stands for what the arguments call `number`.
        arguments: what may be given, with bounds.
        writes: whether something is changed.
        needs_daemon: whether nothing can be done without a running one.
        probe: whether it is asked without a token too, and says no with 503.
        status: the HTTP status of an answer.
        within_s: how long an answer may take.
    """

    ask: Ask
    path: str
    arguments: type[Arguments] = Arguments
    _: KW_ONLY
    method: Literal["GET", "POST"]
    writes: bool = False
    needs_daemon: bool = False
    probe: bool = False
    status: int = 200
    within_s: float = SOON_S

    @property
    def name(self) -> str:
        """The name of the method."""
        return self.ask.__name__

    @property
    def changes_the_store(self) -> bool:
        """Whether it may change something without a daemon."""
        return self.writes and not self.needs_daemon

    @cached_property
    def answers_rows(self) -> bool:
        """Whether the answer is a list, and not one object."""
        return get_origin(get_type_hints(self.ask)["return"]) is list

    @cached_property
    def has_body(self) -> bool:
        """Whether something is read from a request's body."""
        return self.method == "POST" and any(f"{{{name}}}" not in self.path for name in self.arguments.names())

    def call(self, *in_order: Any, **by_name: Any) -> dict[str, Any]:
        """The arguments of a call of the method, by name."""
        bound = signature(self.ask).bind(None, *in_order, **by_name).arguments
        return {name: value for name, value in bound.items() if name != "self"}

    def tells_text(self, call: Mapping[str, Any]) -> bool:
        """Whether what is answered to these arguments of the method holds what documents say."""
        asked = signature(self.ask).parameters.get(TEXT)
        return asked is not None and bool(call.get(TEXT, asked.default))

    def answer(self, control: Control, call: Mapping[str, Any]) -> Any:
        """What `control` answers to these arguments of the method."""
        parameters = signature(self.ask).parameters
        by_name = {name: value for name, value in call.items() if parameters[name].kind is Parameter.KEYWORD_ONLY}
        in_order = [call[name] for name in parameters if name in call and name not in by_name]
        return getattr(control, self.name)(*in_order, **by_name)


_get = partial(Operation, method="GET")
_post = partial(Operation, method="POST")
_change = partial(Operation, method="POST", writes=True)

OPERATIONS: Final = (
    _get(Control.health, "/healthz", probe=True),
    _get(Control.readiness, "/readyz", probe=True),
    _get(Control.status, "/status"),
    _get(Control.settings, "/settings", needs_daemon=True),
    _get(Control.audit, "/audit", given.NewestFirst),
    _get(Control.rounds, "/rounds", given.NewestFirst),
    _get(Control.round, "/rounds/{number}", given.OfRound),
    _get(Control.explain_round, "/rounds/{number}/explain", given.OfRound),
    _get(Control.flips, "/rounds/{number}/flips", given.FlipsPage),
    _get(Control.round_samples, "/rounds/{number}/samples", given.RoundSamplesPage),
    _change(Control.request_round, "/rounds", given.WantedRound, needs_daemon=True, status=202),
    _change(Control.withdraw_round, "/rounds/withdraw", given.WantedRound, needs_daemon=True),
    _change(Control.cancel_rounds, "/rounds/cancel", needs_daemon=True, within_s=LEARNER_ENDS_S),
    _change(Control.approve_round, "/rounds/{number}/approve", given.OfRound, status=202),
    _change(Control.reject_round, "/rounds/{number}/reject", given.OfRound),
    _change(Control.pause_rounds, "/rounds/pause", given.PauseReason),
    _change(Control.resume_rounds, "/rounds/resume"),
    _get(Control.generations, "/generations"),
    _get(Control.generation, "/generations/{number}", given.OfGeneration),
    _get(Control.diff_generations, "/generations/{number}/diff/{other}", given.TwoGenerations),
    _change(Control.rollback, "/rollback", given.TargetGeneration),
    _change(Control.promote_canary, "/canary/promote", given.WatchedGeneration),
    _change(Control.take_back_canary, "/canary/take-back", given.WatchedGeneration),
    _get(Control.picks, "/comparisons"),
    _change(Control.compare, "/comparisons", given.WantedComparison, needs_daemon=True, status=202),
    _get(Control.comparison, "/comparisons/{number}", given.OfComparison, needs_daemon=True),
    _change(Control.pick_answer, "/comparisons/{number}/pick", given.PickedAnswer, needs_daemon=True),
    _change(Control.cancel_comparison, "/comparisons/{number}/cancel", given.OfComparison, needs_daemon=True),
    _get(Control.serving, "/serving"),
    _get(Control.latency, "/serving/latency", given.LatestHours),
    _get(Control.streams, "/streams"),
    _post(Control.peek, "/streams/peek", given.PeekedPlace, needs_daemon=True),
    _get(Control.memory, "/memory"),
    _get(Control.next_draw, "/memory/next-draw"),
    _get(Control.gaps, "/memory/gaps", given.NewestFirst),
    _post(Control.find, "/memory/find", given.FindPage, within_s=LONG_S),
    _post(Control.trace, "/trace", given.TracedPlace, within_s=LONG_S),
    _post(Control.trace_key, "/trace/key", given.FindPage, within_s=LONG_S),
    _change(Control.forget, "/forget", given.NamedPerson, within_s=LONG_S),
    _get(Control.feedback, "/feedback", given.FeedbackPage),
    _get(Control.aside, "/aside"),
    _get(Control.aside_text, "/aside/{number}", given.AsideTextPage),
    _change(Control.release_aside, "/aside/release", given.ReleasedPart),
    _post(Control.count_aside, "/aside/count", given.AsidePart, within_s=LONG_S),
    _change(Control.drop_aside, "/aside/drop", given.ChosenAside, within_s=LONG_S),
    _get(Control.dead_letters, "/dead-letters", given.DeadLettersPage),
    _get(Control.dead_letter, "/dead-letters/{number}", given.OfDeadLetter),
    _change(Control.replay_dead_letters, "/dead-letters/replay", given.ChosenDeadLetters, within_s=LONG_S),
    _change(Control.drop_dead_letters, "/dead-letters/drop", given.ChosenDeadLetters, within_s=LONG_S),
    _change(Control.resume, "/resume", given.PausedPartition, needs_daemon=True),
)

BY_NAME: Final = MappingProxyType({operation.name: operation for operation in OPERATIONS})
