"""What only the running daemon knows of itself."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest

from daemon.comparisons.desk import ComparisonDesk
from daemon.control.answers.status import RefusedSettings
from daemon.control.facts.settings_shown import settings_shown
from daemon.control.views import Views
from daemon.control.within_daemon import LiveControl
from daemon.errors import UnknownThing
from daemon.ingestion.arrivals import ArrivalCounter, ArrivedSoFar
from daemon.lifecycle.supervised_threads import Health, State
from daemon.processes.serving_process import ServingStatus
from daemon.rounds.asks_and_schedule import Asks
from daemon.rounds.begin_or_wait import Ask, Trigger
from streams.document import Batch, Document, Partition
from tests.answering import desk
from tests.daemon_harness import sentences
from tests.harness import Facts, wait_until
from tests.unit.daemon.rooms import World, world

RUNNING = Health("ingest", State.RUNNING)
REFUSED: RefusedSettings = {"at": 5.0, "mistakes": []}


class Reading:
    """What the ingest loop shows."""

    paused = trouble = ""
    unread: Sequence[str] = ()

    def __init__(self, lag: dict[Partition, int]) -> None:
        self._lag = lag

    def lag(self) -> dict[Partition, int]:
        """As told."""
        return self._lag

    def paused_partitions(self) -> dict[Partition, str]:
        """None."""
        return {}

    def arrived(self) -> ArrivedSoFar:
        """Nothing yet."""
        return ArrivalCounter().so_far()

    def resume(self, partition: str | None) -> list[str]:
        """None was paused."""
        return []


def live_control(
    here: World,
    part: Health = RUNNING,
    need_restart: tuple[str, ...] = (),
    ingest: Reading | None = None,
    patient: Callable[[], AbstractContextManager[None]] = nullcontext,
    *,
    compared: ComparisonDesk | None = None,
    serving: Callable[[], ServingStatus] | None = None,
) -> LiveControl:
    """The control of a daemon that has this part, and whose settings file says more than is in force."""
    views = Views(
        parts=lambda: (part,),
        patient=patient,
        ingest=ingest,
        serving=serving,
        serving_address=None,
        next_round=lambda: "",
        problem=lambda: "",
        need_restart=lambda: need_restart,
        settings_refused=lambda: REFUSED,
        settings=lambda: settings_shown(here.settings, None, {}, running=True),
        started_at=0.0,
    )
    return LiveControl(
        here.settings,
        here.store,
        here.rooms.checkpoints,
        views=views,
        asks=Asks(),
        current=here.current,
        promotion=here.promotion,
        compared=compared or desk(),
    )


@pytest.mark.parametrize(
    ("part", "healthy"),
    [
        (Health("ingest", State.RUNNING), True),
        (Health("ingest", State.BROKEN, "broker away"), True),
        (Health("ingest", State.STUCK, "its loop has not turned"), False),
        (Health("rounds", State.STUCK, "its loop has not turned", vital=False), True),
    ],
    ids=lambda value: f"{value.name} {value.state}" if isinstance(value, Health) else "",
)
def test_only_a_stuck_part_that_is_vital_asks_for_a_restart(tmp_path: Path, part: Health, healthy: bool) -> None:
    """A restart ends answers; whatever is wrong is seen in readiness."""
    with world(tmp_path) as here:
        control = live_control(here, part)
        assert control.health()["healthy"] is healthy
        assert control.readiness()["ready"] is (part.state is State.RUNNING)


@pytest.mark.parametrize(
    ("part", "starting", "state"),
    [
        (Health("serving", State.STARTING, "it loads"), "it loads", "starting"),
        (Health("serving", State.STARTING, "it ended (begun again, it loads)", failures=1), "", "broken"),
        (Health("serving", State.BROKEN, "it has loaded no generation yet: no such file"), "", "broken"),
    ],
    ids=["begins", "begins again", "cannot load"],
)
def test_serving_that_begins_is_no_trouble_until_it_fails(
    tmp_path: Path, part: Health, starting: str, state: str
) -> None:
    """Loading a large model takes minutes at every start; what failed before is trouble while it is tried again."""
    with world(tmp_path) as here:
        control = live_control(here, part, serving=ServingStatus)
        standing = control.status()["serving"]
        assert standing["ok"] is False
        assert standing["starting"] == starting
        assert standing["trouble"] == ("" if starting else part.detail)
        assert control.readiness()["parts"]["serving"] == {"ok": False, "detail": part.detail, "state": state}


def test_a_loop_that_cannot_read_is_trouble_with_the_stream(tmp_path: Path) -> None:
    """Without a source it knows of no partition, which looks like waiting for one."""
    broken = Health("ingest", State.BROKEN, "the store has no room")
    with world(tmp_path) as here:
        ingest = live_control(here, broken, ingest=Reading({})).status()["ingest"]
        assert ingest is not None
        assert ingest["trouble"] == "the store has no room"


def test_what_of_the_stream_is_not_read_is_told(tmp_path: Path) -> None:
    """Where the others are read there is no trouble, and the topic is missing all the same."""
    reading = Reading({Partition("articles", 0): 0})
    reading.unread = ["nwes cannot be read: there is no such topic"]
    with world(tmp_path) as here:
        control = live_control(here, ingest=reading)
        for standing in (control.status()["ingest"], control.streams()["reading"]):
            assert standing is not None
            assert (standing["trouble"], standing["unread"]) == ("", reading.unread)


def test_without_a_partition_there_is_no_lag(tmp_path: Path) -> None:
    """Nothing is known of what waits in the topics: that is not 0 records behind."""
    with world(tmp_path) as here:
        assert _lag(live_control(here, ingest=Reading({}))) is None
        reading = Reading({Partition("articles", 0): 0, Partition("articles", 1): 4})
        assert _lag(live_control(here, ingest=reading)) == 4


def _lag(control: LiveControl) -> int | None:
    ingest = control.status()["ingest"]
    assert ingest is not None
    return ingest["lag_records"]


def test_only_a_partition_that_is_read_can_be_resumed(tmp_path: Path) -> None:
    """One that was not paused is no mistake; one that does not exist is, and the answer names those that do."""
    with world(tmp_path) as here:
        control = live_control(here, ingest=Reading({Partition("articles", 0): 0}))
        assert control.resume("articles/0") == control.resume() == {"resumed": []}
        with pytest.raises(UnknownThing, match=r"No partition articles/9 is read here; those that are: articles/0\."):
            control.resume("articles/9")


def test_no_loop_counts_as_stuck_while_an_erasure_rewrites_the_file(tmp_path: Path) -> None:
    """All who write wait for that, however long it takes: a restart would only end it in the middle."""
    erased: list[tuple[str, float | None]] = []
    with world(tmp_path) as here:

        @contextmanager
        def patient() -> Iterator[None]:
            erased.append(("before", here.store.people.find("someone").erased_at))
            yield
            erased.append(("after", here.store.people.find("someone").erased_at))

        live_control(here, patient=patient).forget("someone")
    assert [(when, at is not None) for when, at in erased] == [("before", False), ("after", True)]


def test_what_an_erasure_costs_a_round_in_progress_is_said_before(tmp_path: Path) -> None:
    """Only where that person's text is in it; any other round goes on."""
    with world(tmp_path) as here:
        text = sentences(2, seed=77)
        for person, sentence in zip(("given", "later"), text, strict=True):
            partition = Partition(person, 0)
            document = Document(sentence, "news", person, None, None, 1_000.0, partition, 0)
            here.store.append(Batch((document,), (), (), {partition: 1}))
            if person == "given":
                draw = here.store.rounds.begin(trigger="by_hand", recipe={}, seed=1)
        assert draw is not None
        here.current.begin(draw.number, now=time.time() - 600)
        control = live_control(here)
        assert control.find("later")["calls_off"] is None
        assert control.forget("later")["called_off"] is None
        assert not here.current.called_off
        off: Facts = control.find("given")["calls_off"]
        assert off["round"] == draw.number
        assert off["seconds"] >= 600

        def end_when_called_off() -> None:
            wait_until(lambda: here.current.called_off)
            here.current.end()

        ended = threading.Thread(target=end_when_called_off)
        ended.start()
        assert control.forget("given")["called_off"] == draw.number
        ended.join()


def test_settings_that_wait_for_a_restart_are_shown(tmp_path: Path) -> None:
    """In the status, and where records were decoded again: by the settings in force, not by those on disk."""
    with world(tmp_path) as here:
        control = live_control(here, need_restart=("streams", "admin"))
        assert control.status()["need_restart"] == ["streams", "admin"]
        assert control.status()["settings_refused"] == REFUSED
        assert control.replay_dead_letters()["need_restart"] == ["streams"]


def _next_round(control: LiveControl) -> str:
    next_round = control.status()["next_round"]
    assert next_round is not None
    return next_round


def test_while_a_round_runs_the_status_tells_why_and_what_the_next_waits_for(tmp_path: Path) -> None:
    """Why the present one began is said of that one, with the fresh text that it keeps apart."""
    with world(tmp_path) as here:
        control = live_control(here)
        assert control.status()["next_round"] == ""
        here.current.begin(4, now=0.0, reason="9 samples are fresh", fresh=8, early_stop=1)
        running: Facts = control.status()
        assert running["next_round"] == "not before round 4 has ended"
        told = {name: running["round"][name] for name in ("reason", "fresh_samples", "early_stop_samples")}
        assert told == {"reason": "9 samples are fresh", "fresh_samples": 8, "early_stop_samples": 1}
        control._asks.add(Ask(Trigger.CRON, by="cron"))
        assert _next_round(control).endswith("ended; asked for by cron")
        control.pause_rounds()
        # The schedule's ask waits out the pause.
        assert _next_round(control).startswith("not before round 4 has ended, and then rounds are paused;")
        here.feed(seed=9)
        control.request_round()
        assert _next_round(control).endswith("ended; asked for by a person")


def test_a_round_and_what_was_asked_for_are_called_off(tmp_path: Path) -> None:
    """The one in progress ends without effect, nothing waits any more; with neither there is nothing to call off."""
    with world(tmp_path) as here:
        control = live_control(here)
        with pytest.raises(UnknownThing, match="nothing to call off"):
            control.cancel_rounds()
        here.feed(seed=9)
        control.request_round()
        assert control.cancel_rounds()["withdrawn"] == 1
        assert control.status()["next_round"] == ""
        here.current.begin(4, now=0.0)
        control.request_round(dry_run=True)

        def end_when_called_off() -> None:
            wait_until(lambda: here.current.called_off)
            here.current.end()

        ends = threading.Thread(target=end_when_called_off)
        ends.start()
        answer = control.cancel_rounds()
        ends.join()
        assert (answer["round"], answer["withdrawn"]) == (4, 1)
        assert answer["detail"].startswith("Round 4 is called off. What a person asked for is taken back.")


def test_who_asks_for_a_round_is_told_what_is_given_up_for_it(tmp_path: Path) -> None:
    """What was trained and waits to be judged again; a dry run leaves it."""
    with world(tmp_path) as here:
        control = live_control(here)
        here.run("unsure")
        assert control.request_round(dry_run=True)["detail"] == "A round begins."
        assert control.request_round()["detail"].endswith("What round 1 could not prove is given up for it.")


def test_a_round_that_begins_at_once_comes_after_its_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits takes the first round beyond the number in the answer: no later one must be that."""
    with world(tmp_path) as here:
        control = live_control(here)
        here.feed(seed=9)
        begin = here.store.rounds.begin
        monkeypatch.setattr(control._asks, "add", lambda _ask: begin(trigger="by_hand", recipe={}, seed=1))
        after = control.request_round()["after"]
        assert [line["number"] for line in control.rounds()] == [after + 1]


def test_only_a_request_that_waits_is_withdrawn(tmp_path: Path) -> None:
    """Once answered it is too late."""
    with world(tmp_path) as here:
        control = live_control(here)
        here.feed(seed=9)
        control.request_round()
        assert control.withdraw_round(dry_run=True) == {"withdrawn": False}
        assert control.withdraw_round() == {"withdrawn": True}
        assert control.withdraw_round() == {"withdrawn": False}
