"""Comparisons one at a time: begun, called off, forgotten, picked from once."""

import threading
from collections.abc import Callable

import pytest

from daemon.comparisons.answer_comparison import AnswerComparison, ComparisonState, ComparisonWish
from daemon.comparisons.desk import KEPT_S, MOST_KEPT, ComparisonDesk
from daemon.errors import Busy, Refused, UnknownThing
from daemon.processes.comparison_process import ComparisonEnding, ComparisonExit
from serving.comparison.exchange import AnswerEvent, ComparisonPrompt
from tests.answering import WORDS, AnswersAtHand
from tests.harness import wait_until


def wish(*, blind: bool = False) -> ComparisonWish:
    """Generations 1 and 2."""
    return ComparisonWish(1, 2, "The river", blind, chat=False, max_tokens=9, temperature=0.0, seed=0)


ASKED = ComparisonPrompt.model_validate(
    {"checkpoints": "/nowhere", "kind": "causal-lm", "generations": (1, 2), "prompt": "The river"}
)


def ended(desk: ComparisonDesk, number: int) -> AnswerComparison:
    """One of them, once it has ended."""
    return wait_until(
        lambda: found if (found := desk.find(number)).state is not ComparisonState.RUNNING else None, what="its end"
    )


def answered(desk: ComparisonDesk, *, blind: bool = False) -> AnswerComparison:
    """One that has answered."""
    return ended(desk, desk.begin(wish(blind=blind), ASKED).number)


def test_a_second_one_is_told_to_wait_and_begins_when_the_first_has_ended() -> None:
    """However many ask at once, one process runs."""
    answers = AnswersAtHand()
    answers.may_answer.clear()
    with ComparisonDesk(answers) as desk:
        first = desk.begin(wish(), ASKED)
        with pytest.raises(Busy) as told:
            desk.begin(wish(), ASKED)
        assert (told.value.http_status, told.value.retry_after_s) == (429, 5)
        answers.may_answer.set()
        assert {number: answer.text for number, answer in ended(desk, first.number).answers.items()} == {
            number: WORDS[number] for number in (1, 2)
        }
        assert answered(desk).number != first.number


def test_one_that_is_called_off_ends_and_gives_way() -> None:
    """When the call returns, another may begin."""
    answers = AnswersAtHand()
    answers.may_answer.clear()
    with ComparisonDesk(answers) as desk:
        begun = desk.begin(wish(), ASKED)
        off = desk.call_off(begun.number)
        assert (off.state, off.detail, off.answers) == (ComparisonState.FAILED, "It was called off.", {})
        with pytest.raises(Refused, match="nothing to call off"):
            desk.call_off(begun.number)
        desk.begin(wish(), ASKED)


def test_at_the_end_of_the_service_what_is_under_way_ends_and_none_begins() -> None:
    """The desk is closed before the process ends: no child is left."""
    answers, stopping = AnswersAtHand(), threading.Event()
    answers.may_answer.clear()
    with ComparisonDesk(answers, is_stopping=stopping.is_set) as desk:
        begun = desk.begin(wish(), ASKED)
        stopping.set()
        assert ended(desk, begun.number).detail == "It was called off."
        with pytest.raises(Refused, match="stopping"):
            desk.begin(wish(), ASKED)
        stopping.clear()
        again = desk.begin(wish(), ASKED)
    assert desk.find(again.number).state is ComparisonState.FAILED


def test_a_few_are_remembered_for_an_hour() -> None:
    """The oldest go first; an address that led to one leads nowhere then."""
    now = 0.0
    desk = ComparisonDesk(AnswersAtHand(), clock=lambda: now)
    numbers = [answered(desk).number for _ in range(MOST_KEPT + 2)]
    assert len(set(numbers)) == len(numbers)
    for number in numbers[:2]:
        with pytest.raises(UnknownThing, match="kept for an hour"):
            desk.find(number)
    assert [desk.find(number).number for number in numbers[2:]] == numbers[2:]
    now = KEPT_S + 1
    with pytest.raises(UnknownThing):
        desk.find(numbers[-1])


def test_a_process_that_cannot_be_started_is_a_comparison_that_failed() -> None:
    """And the next may begin."""

    class NoProcess:
        """Cannot be started."""

        def run(
            self, asked: ComparisonPrompt, *, on_event: Callable[[AnswerEvent], None], must_stop: Callable[[], bool]
        ) -> ComparisonExit:
            """As `ComparisonProcess.run`."""
            raise OSError(12, "Cannot allocate memory")

    told: list[ComparisonEnding] = []
    desk = ComparisonDesk(NoProcess(), ended=told.append)
    assert answered(desk).detail == "Its process cannot be started: Cannot allocate memory."
    assert answered(desk).state is ComparisonState.FAILED
    assert told == [ComparisonEnding.FAILED] * 2


@pytest.mark.parametrize("swaps", [False, True])
def test_in_the_open_the_sides_stand_as_they_were_named_and_blind_as_chance_says(swaps: bool) -> None:
    """By the pick it is told which is whose."""
    desk = ComparisonDesk(AnswersAtHand(), swaps=lambda: swaps)
    open_ = answered(desk)
    assert (open_.left, open_.right, open_.is_hidden) == (1, 2, False)
    blind = answered(desk, blind=True)
    assert (blind.left, blind.right, blind.is_hidden) == ((2, 1, True) if swaps else (1, 2, True))
    kept: list[int | None] = []
    picked = desk.pick(blind.number, "left", "ada", lambda pick: kept.append(pick.won))
    assert (picked.is_hidden, picked.picked_by, kept) == (False, "ada", [2 if swaps else 1])


def test_chance_is_not_one_that_can_be_foretold() -> None:
    """Both orders come; of 32 all alike comes once in two billions."""
    desk = ComparisonDesk(AnswersAtHand())
    assert {answered(desk, blind=True).left for _ in range(32)} == {1, 2}


def test_a_pick_counts_once_and_not_where_it_cannot_be_written_down() -> None:
    """Of two at once the second is refused; after a failure it may be tried again, and nothing was told."""
    desk = ComparisonDesk(AnswersAtHand())
    number = answered(desk, blind=True).number

    def full(_: AnswerComparison) -> None:
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        desk.pick(number, "equal", "ada", full)
    assert desk.find(number).is_hidden
    kept: list[str] = []

    def keep(pick: AnswerComparison) -> None:
        kept.append(pick.picked_by)
        # While it is written down somebody looks.
        assert desk.find(number).is_hidden

    def pick(who: str) -> None:
        try:
            desk.pick(number, "equal", who, keep)
        except Refused as error:
            refused.append(str(error))

    refused: list[str] = []
    threads = [threading.Thread(target=pick, args=(who,)) for who in ("ada", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kept) == len(refused) == 1
    assert refused[0].endswith(f"has been picked from already, by {kept[0]}.")
    assert desk.find(number).won is None


def test_what_was_not_hidden_or_has_not_answered_is_not_picked_from() -> None:
    """A word on it would not be a judgement of the answer alone."""
    answers = AnswersAtHand()
    with ComparisonDesk(answers) as desk:
        with pytest.raises(Refused, match="not blind"):
            desk.pick(answered(desk).number, "left", "ada", lambda _: None)
        answers.may_answer.clear()
        begun = desk.begin(wish(blind=True), ASKED)
        with pytest.raises(Refused, match="no answers"):
            desk.pick(begun.number, "left", "ada", lambda _: None)
