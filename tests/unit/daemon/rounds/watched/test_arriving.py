"""What arrives during a watch is read by both generations, one document at a time, and judged in pairs."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daemon.rounds.watched.arriving import LONGEST_CHARACTERS, MOST_DOCUMENTS, MOST_TURNS, ArrivingText
from daemon.rounds.watched.observed import Observed
from memory.ledger.history.canaries import CanaryRecord
from streams.chats import Message, join
from streams.document import Batch, Document, Partition
from tests.unit.daemon.kept import Kept
from tests.unit.memory.helpers import text as text_of

WATCHED = CanaryRecord(2, 1, 3, "canary", 0.1, 0.0, None, "watched", "", {}, {})
ANSWERING = Observed(pid=7, loaded=True)


class Serving:
    """A stand-in for the serving process: the watched generation finds each token a tenth of a nat worse."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int, Mapping[str, Any]]] = []
        self.answer: Mapping[str, Any] | None = {"tokens": 20, "serving": 40.0, "watched": 42.0}
        self.waiting: list[Callable[[], None]] = []

    def read(self, serving: int, watched: int, said: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """As `ServingProcess.read_pair`."""
        self.asked.append((serving, watched, said))
        return self.answer

    def end_all(self) -> None:
        """Let what was begun beside the watch end."""
        while self.waiting:
            self.waiting.pop(0)()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    """A memory with text from before the watch."""
    here = Kept(tmp_path)
    with here.store:
        here.arrive(20)
        yield here


@pytest.fixture
def serving() -> Serving:
    """One that answers."""
    return Serving()


def arriving(kept: Kept, serving: Serving) -> ArrivingText:
    """What reads, with the work beside it in the test's hands."""
    return ArrivingText(kept.store, serving.read, serving.waiting.append)


def look_on(text: ArrivingText, serving: Serving, observed: Observed, times: int = 60) -> Observed:
    """Look again and again."""
    for _ in range(times):
        observed = text.look(WATCHED, observed)
        serving.end_all()
    return text.look(WATCHED, observed)


def fresh_since(kept: Kept, number: int) -> int:
    """How much fresh text has a higher number."""
    count = 0
    while (sample := kept.store.next_fresh(number)) is not None:
        count, number = count + 1, sample.id
    return count


def test_what_came_since_the_watch_began_is_read_once_by_both(kept: Kept, serving: Serving) -> None:
    """In their order, and nothing of what was there before; differences are summed by groups of keys."""
    text = arriving(kept, serving)
    observed = text.look(WATCHED, ANSWERING)
    assert (serving.waiting, observed.documents) == ([], 0)
    before = kept.store.newest_sample()
    kept.arrive(40)
    came = fresh_since(kept, before)
    assert came > 20
    observed = look_on(text, serving, observed)
    texts = {said["text"] for _, _, said in serving.asked}
    assert len(serving.asked) == len(texts) == came == observed.documents
    assert {(first, second) for first, second, _ in serving.asked} == {(1, 2)}
    losses = observed.traffic.losses
    assert losses is not None
    assert losses.sum(axis=0).tolist() == pytest.approx([20 * came, 2.0 * came])
    assert (losses[:, 0] > 0).sum() > 8
    again = Observed.of_json(observed.to_json())
    assert (again.read_to, again.documents) == (observed.read_to, came)
    assert again.traffic.losses is not None
    assert again.traffic.losses.tolist() == losses.tolist()


def test_one_is_read_at_a_time_and_nobody_waits_for_it(kept: Kept, serving: Serving) -> None:
    """However long the serving process takes; at most so many of one watch."""
    text = arriving(kept, serving)
    observed = text.look(WATCHED, ANSWERING)
    kept.arrive(20)
    for _ in range(5):
        observed = text.look(WATCHED, observed)
    assert len(serving.waiting) == 1
    serving.end_all()
    enough = replace(observed, documents=MOST_DOCUMENTS - 1)
    assert look_on(text, serving, enough).documents == MOST_DOCUMENTS


@pytest.mark.parametrize(
    "answer", [None, {}, {"error": {"code": "timeout"}}, {"tokens": 0}, {"tokens": 3, "serving": 1.0, "watched": None}]
)
def test_what_could_not_be_read_is_passed_over(kept: Kept, serving: Serving, answer: Mapping[str, Any] | None) -> None:
    """It would not be read the next time either."""
    text, serving.answer = arriving(kept, serving), answer
    observed = text.look(WATCHED, ANSWERING)
    before = kept.store.newest_sample()
    kept.arrive(10)
    observed = look_on(text, serving, observed)
    assert (len(serving.asked), observed.documents) == (fresh_since(kept, before), 0)
    assert observed.traffic.losses is None


def test_an_engine_that_tells_no_log_probabilities_is_asked_once(kept: Kept, serving: Serving) -> None:
    """Until there is another process."""
    text = arriving(kept, serving)
    serving.answer = {"error": {"code": "not_given_by_engine", "message": "it gives none"}}
    observed = text.look(WATCHED, ANSWERING)
    kept.arrive(10)
    observed = look_on(text, serving, observed, times=5)
    assert len(serving.asked) == 1
    assert text.why_not(observed) == "the engine tells no log-probabilities of what it reads"
    another = replace(observed, pid=8)
    assert text.why_not(another) == ""
    look_on(text, serving, another, times=5)
    assert len(serving.asked) == 2


def test_nothing_is_read_while_the_watched_generation_does_not_answer(kept: Kept, serving: Serving) -> None:
    """And what was read for another watch counts for none."""
    text = arriving(kept, serving)
    observed = text.look(WATCHED, ANSWERING)
    kept.arrive(10)
    for away in (replace(observed, loaded=False), replace(observed, silent=True)):
        look_on(text, serving, away, times=3)
    assert serving.asked == []
    text.look(WATCHED, observed)
    serving.end_all()
    another = replace(WATCHED, generation=3)
    assert text.look(another, replace(observed, loaded=False)).documents == 0


def arrive_chats(kept: Kept, chats: list[list[Message]]) -> None:
    """Let them arrive, each of somebody else."""
    place = Partition("chats", 0)
    documents = tuple(
        Document(chat.text, "chats", f"u{n}", None, None, 1.0, place, n, turns=chat.turns)
        for n, chat in enumerate(map(join, chats))
    )
    kept.store.append(Batch(documents, (), (), {place: len(chats)}))


def test_chats_are_read_turn_by_turn(kept: Kept, serving: Serving) -> None:
    """As they were said: how they are written only the model's template knows, which the serving process has."""
    text = arriving(kept, serving)
    observed = text.look(WATCHED, ANSWERING)
    said = [[Message("user", f"how long is river {n}"), Message("assistant", f"{n} miles")] for n in range(20)]
    arrive_chats(kept, said)
    observed = look_on(text, serving, observed, times=40)
    assert observed.documents == len(serving.asked) > 10
    known = [[{"role": each.role, "content": each.content} for each in chat] for chat in said]
    assert all(asked["messages"] in known for _, _, asked in serving.asked)


def test_of_a_long_chat_the_beginning_is_read(kept: Kept, serving: Serving) -> None:
    """Both in turns and in characters: what it costs those who ask has a bound."""
    text = arriving(kept, serving)
    observed = text.look(WATCHED, ANSWERING)
    long = [[Message("user", "say it"), Message("assistant", text_of(n, words=1_500))] for n in range(20)]
    many = [[Message("assistant", text_of(100 * n + turn, words=4)) for turn in range(50)] for n in range(20)]
    arrive_chats(kept, [*long, *many])
    look_on(text, serving, observed, times=60)
    sizes = {
        (len(asked["messages"]), sum(len(turn["content"]) for turn in asked["messages"]) == LONGEST_CHARACTERS)
        for _, _, asked in serving.asked
    }
    assert sizes == {(2, True), (MOST_TURNS, False)}
