"""A store with rounds in it, and the page in front of its control."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from daemon.control.within_daemon import LiveControl
from streams.document import Batch, DeadLetter, Partition, Reason
from tests.answering import AnswersAtHand, desk
from tests.harness import wait_until
from tests.unit.daemon.control.test_within_daemon import live_control
from tests.unit.daemon.page.browsers import Browser, PageInFront
from tests.unit.daemon.rooms import World, world

NEWS = Partition("news", 0)
ANSWERS = AnswersAtHand()
COMPARED = 4
"""By which a blind comparison is asked for, from which nobody picks."""
LETTERS = tuple(
    DeadLetter(NEWS, at, Reason.MISSING_FIELD, "<i>why</i>", b"<b>key</b>", b"<script>alert(4)</script>", 25, 1_000.0)
    for at in range(4)
)


@dataclass(frozen=True)
class Ground:
    """A store with two accepted rounds, a refused one and one that waits."""

    here: World
    control: LiveControl
    page: PageInFront


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Shared by all: who changes something puts it back."""
    with world(tmp_path_factory.mktemp("page"), gate={"minimum_documents": 5, "resamples": 200}) as here:
        here.run()
        here.feed(seed=3)
        here.run("worse")
        here.run()
        here.feed(seed=4)
        here.run("implausible")
        here.store.append(Batch((), LETTERS, (), {NEWS: len(LETTERS)}))
        control = live_control(here, compared=desk(ANSWERS, number=COMPARED))
        assert control.compare("<script>alert(7)</script>\nThe river", blind=True)["number"] == COMPARED
        wait_until(lambda: control.comparison(COMPARED)["answers"], what="both answers")
        yield Ground(here, control, PageInFront(control, here.store))


@pytest.fixture(scope="session")
def reader(ground: Ground) -> Browser:
    """A browser in which somebody is signed in."""
    return ground.page.browser().signed_in()
