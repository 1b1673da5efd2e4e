"""Owners take turns in the queue."""

from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from serving.engine.fair_queue import FairQueue


@dataclass(eq=False)
class Person:
    """One that waits."""

    owner: str
    number: int = 0
    cancelled: bool = False


def taken(queue: FairQueue[Person]) -> list[Person]:
    """All, in the order in which they come out."""
    people = []
    while (person := queue.take()) is not None:
        people.append(person)
    return people


def test_a_flood_is_not_waited_for() -> None:
    """Who comes behind a hundred of another has the second turn, not the hundred and first."""
    queue: FairQueue[Person] = FairQueue(8)
    queue.put(Person("flood", number) for number in range(100))
    queue.put([Person("guest")])
    assert [person.owner for person in taken(queue)][:3] == ["flood", "guest", "flood"]


def test_of_one_owner_it_is_a_queue() -> None:
    """As without keys."""
    queue: FairQueue[Person] = FairQueue(8)
    queue.put(Person("", number) for number in range(5))
    assert [person.number for person in taken(queue)] == [0, 1, 2, 3, 4]


def test_who_went_away_has_no_turn() -> None:
    """Nor has an owner of whom nobody waits any more."""
    queue: FairQueue[Person] = FairQueue(8)
    gone = [Person("gone", cancelled=True) for _ in range(3)]
    queue.put([*gone, Person("here"), Person("here")])
    assert len(queue) == 5
    queue.drop_cancelled()
    assert len(queue) == 2
    queue.put([Person("gone", cancelled=True)])
    assert [person.owner for person in taken(queue)] == ["here", "here"]
    assert len(queue) == 0
    assert queue.take() is None


@given(st.lists(st.sampled_from("abc"), max_size=40))
def test_nobody_is_lost_and_nobody_is_two_turns_ahead(owners: list[str]) -> None:
    """While two owners wait, neither has had a turn more than one beyond the other's."""
    queue: FairQueue[Person] = FairQueue(2)
    queue.put(Person(owner, number) for number, owner in enumerate(owners))
    left, had = Counter(owners), Counter(dict.fromkeys(set(owners), 0))
    for person in taken(queue):
        left[person.owner] -= 1
        had[person.owner] += 1
        waiting = [had[owner] for owner, count in left.items() if count]
        assert not waiting or max(waiting) - min(waiting) <= 1
    assert not any(left.values())


def test_it_says_when_those_that_wait_will_have_begun() -> None:
    """As fast as they began of late, not a second for each lot."""
    now = 0.0
    queue: FairQueue[Person] = FairQueue(8, lambda: now)
    queue.put(Person("") for _ in range(64))
    assert queue.retry_after_s() == 9
    for _ in range(4):
        now += 3
        queue.take()
    assert queue.retry_after_s() == 180
