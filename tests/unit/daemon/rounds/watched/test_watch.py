"""The watch over a generation in traffic: judged, carried out, kept over restarts, and never in the way of serving."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from checkpoints.generation_store import GenerationStore
from daemon.assembly.live_metrics import what_rounds_wait_for
from daemon.control.facts.history import canary_line, canary_standing
from daemon.lifecycle.shutdown import Shutdown
from daemon.rounds.asks_and_schedule import Asks
from daemon.rounds.begin_or_wait import Wait
from daemon.rounds.directories import Rooms
from daemon.rounds.loop import RoundsLoop
from daemon.rounds.pointer_repair import reconcile_pointer, repair_pointer
from daemon.rounds.watched.arriving import ArrivingText
from daemon.rounds.watched.observed import GROUPS
from daemon.rounds.watched.watch import CanaryWatch
from daemon.settings.tree import Settings
from gate.live.verdict import LiveVerdict
from memory.ledger.history.canaries import CanaryRecord
from memory.ledger.records import GenerationState
from memory.ledger.states import RoundState
from memory.store import Store
from serving.traffic.choice import GROUPS as GROUPS_OF_SERVING
from serving.traffic.tally import GroupCounts
from streams.document import Batch, Opinion, Partition
from tests.unit.daemon.rooms import BY_HAND, World, world

CANARY = {"enabled": True, "share": 0.2, "watch_seconds": 100, "deadline_seconds": 1000, "minimum_answers": 300}


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """What a round leaves behind whose generation is to be watched first."""
    path = tmp_path_factory.mktemp("accepted")
    with world(path, serving={"canary": CANARY}) as made:
        conclusion = made.run()
    assert (conclusion.state, conclusion.generation) == (RoundState.ACCEPTED, 1)
    return made.settings


@pytest.fixture
def here(tmp_path: Path, accepted: Settings) -> Iterator[World]:
    """A copy of it."""
    path = shutil.copytree(accepted.state_dir, tmp_path / "state")
    settings = accepted.model_copy(update={"state_dir": path})
    with Store.open(settings.database, settings.memory) as store:
        yield World(Rooms(store, GenerationStore(settings.checkpoints_dir), settings.rounds_dir), settings)


class Serving:
    """A stand-in for the serving process: counts what a test says that it answered."""

    def __init__(self) -> None:
        self.pid: int | None = 1
        self.loaded: int | None = 1
        self.pair: tuple[int, int] | None = (0, 1)
        self.failing: int | None = None
        self.failures = 0
        self.why = ""
        self.askers: dict[str, int] = {}
        self.counts = {side: [GroupCounts() for _ in range(GROUPS)] for side in ("serving", "watched")}

    def answer(self, side: str, answers: int, *, errors: int = 0, seconds: float = 0.1) -> None:
        """So many answers, spread over the groups; the first ones failed."""
        for number in range(answers):
            group = self.counts[side][number % GROUPS]
            group.answers += 1
            if number < errors:
                group.errors += 1
            else:
                group.firsts, group.log_first = group.firsts + 1, group.log_first + seconds
                group.paced, group.log_pace = group.paced + 1, group.log_pace + seconds

    def restart(self, pid: int) -> None:
        """Another process, which counts from nothing."""
        self.pid, self.askers = pid, {}
        self.counts = {side: [GroupCounts() for _ in range(GROUPS)] for side in self.counts}

    def ask(self) -> dict[str, Any] | None:
        """What the process says."""
        if self.pid is None:
            return None
        serving, watched = self.pair or (None, None)
        counts = {side: [group.row() for group in groups] for side, groups in self.counts.items()}
        return {
            "pid": self.pid,
            "loaded": self.loaded,
            "failing": self.failing,
            "failures": self.failures,
            "why": self.why,
            "serving": serving,
            "watched": watched,
            "counts": counts if self.pair else {},
            "askers": dict(self.askers),
        }


class Watching:
    """A watch over a world, with a clock that moves when it is told to."""

    def __init__(self, here: World, serving: Serving) -> None:
        self.here, self.serving, self.now = here, serving, 0.0
        self.watch = self.start()

    def start(self) -> CanaryWatch:
        """A watch as a daemon begins it."""
        return CanaryWatch(
            self.here.rooms,
            settings=lambda: self.here.settings,
            promotion=self.here.promotion,
            ask=self.serving.ask,
            metrics=self.here.metrics,
            monotonic=lambda: self.now,
        )

    def look(self, after_s: float = 0.0) -> str:
        """Let time pass, looking each ten seconds of it."""
        said = self.watch.look()
        end = self.now + after_s
        while self.now < end:
            self.now = min(end, self.now + 10)
            said = self.watch.look()
        return said


@pytest.fixture
def watching(here: World) -> Watching:
    """A watch over generation 1."""
    return Watching(here, Serving())


def test_how_long_a_watch_lasts_is_known_by_the_clock_on_the_wall(here: World) -> None:
    """As a share of its deadline, also where nobody looks at it; once it has ended there is none."""
    canary = here.store.canaries.watched()
    assert canary is not None
    here.store.file.clock = lambda: canary.since + 2_500
    assert what_rounds_wait_for(here.store, here.settings)[2] == 2.5
    here.store.canaries.roll_back(canary.generation, by="a test")
    assert what_rounds_wait_for(here.store, here.settings)[2] == 0


def pointed(here: World) -> tuple[int, int | None]:
    """What the pointer names."""
    pointer = here.rooms.checkpoints.serving()
    assert pointer is not None
    return pointer.generation, None if pointer.canary is None else pointer.canary.generation


def ended(here: World) -> CanaryRecord:
    """The watch of round 1's generation."""
    found = here.store.canaries.of_round(1)
    assert found is not None
    return found


def test_serving_and_the_watch_count_by_the_same_groups() -> None:
    """They share no code but the names of what is counted."""
    assert GROUPS == GROUPS_OF_SERVING
    assert len(GroupCounts().row()) == 6


def test_an_accepted_round_is_watched_and_the_pointer_names_both(watching: Watching) -> None:
    """The old one serves on."""
    here = watching.here
    assert pointed(here) == (0, 1)
    assert here.store.generations.serving() == 0
    assert watching.look().startswith("generation 1 is watched as a canary beside generation 0: watched for")


def test_one_that_is_as_good_is_promoted_once_the_window_is_over(watching: Watching) -> None:
    """With its verdict in the ledger, counted; the next round starts from it."""
    here = watching.here
    watching.look()
    watching.serving.answer("watched", 400)
    watching.serving.answer("serving", 1200)
    assert "1 s more" in watching.look(after_s=99) or watching.look()
    assert pointed(here) == (0, 1)
    assert watching.look(after_s=20) == ""
    assert pointed(here) == (1, None)
    assert here.store.generations.serving() == 1
    record = ended(here)
    assert (record.outcome, record.ended_by) == ("promoted", "its watch in traffic")
    assert record.verdict["decision"] == "promote"
    assert [check["name"] for check in record.verdict["checks"]] == ["errors", "first_token", "pace"]
    assert all({"bound", "figure", "lower", "upper"} <= set(check) for check in record.verdict["checks"])
    assert here.metric("riverkeep_canaries_total", outcome="promoted") == 1
    here.feed(seed=5)
    assert here.run().generation == 2


def test_one_that_fails_goes_back_at_once_and_what_served_serves_on(watching: Watching) -> None:
    """Long before the window is over; it is flagged, and the next round starts from what serves."""
    here = watching.here
    watching.look()
    watching.serving.answer("watched", 12, errors=12)
    watching.serving.answer("serving", 100)
    assert watching.look() == ""
    assert pointed(here) == (0, None)
    assert here.store.generations.read(1).state is GenerationState.ROLLED_BACK
    assert "failed answers: +100.00%" in ended(here).verdict["sentence"]
    assert here.metric("riverkeep_canaries_total", outcome="rolled_back") == 1
    here.feed(seed=5)
    assert here.run().generation == 2
    assert here.store.generations.read(2).parent == 0


def test_one_whose_answers_people_reject_goes_back(watching: Watching) -> None:
    """However well it answers by everything that is counted; what was said before the watch counts for nothing."""
    here = watching.here
    watching.look()
    since = here.store.canaries.watched()
    assert since is not None
    for side in ("watched", "serving"):
        watching.serving.answer(side, 60)
    judge(here, since.since - 1, generation=0, verdict="reject")
    judge(here, since.since + 1, generation=0, verdict="accept")
    assert "watched for" in watching.look()
    judge(here, since.since + 1, generation=1, verdict="reject")
    watching.serving.answer("watched", 60)
    assert watching.look() == ""
    assert pointed(here) == (0, None)
    assert "answers that people rejected, of those that they judged: +100.00%" in ended(here).verdict["sentence"]


def test_one_that_foretells_worse_what_arrives_goes_back(watching: Watching) -> None:
    """However well it answers; the check stands in the ledger with bound and limits, through a restart."""
    here = watching.here
    answer = {"tokens": 50, "serving": 100.0, "watched": 105.0}
    watching.watch._arriving = ArrivingText(here.store, lambda *_: answer, lambda work: work())
    watching.look()
    here.feed(seed=21)
    said = watching.look(after_s=600)
    assert "watched for" in said
    watching.watch = watching.start()
    for side in ("watched", "serving"):
        watching.serving.answer(side, 40)
    assert watching.look() == ""
    assert pointed(here) == (0, None)
    verdict = ended(here).verdict
    (check,) = (check for check in verdict["checks"] if check["name"] == "loss")
    assert (check["kind"], check["bound"]) == ("nats", 0.01)
    assert check["lower"] == pytest.approx(0.1)
    assert "loss of what arrives: +0.1000 nats a token" in verdict["sentence"]


def test_one_client_cannot_take_back_a_generation_by_people_that_it_makes_up(watching: Watching) -> None:
    """Forty of them on one answer, by one key, are one word; answers that were asked for by force are none."""
    here = watching.here
    watching.look()
    canary = here.store.canaries.watched()
    assert canary is not None
    for side in ("watched", "serving"):
        watching.serving.answer(side, 60)
    judge(here, canary.since + 1, generation=0, verdict="accept")
    for more in ({"answer": "one", "giver": "a key"}, {"giver": "a key", "group": None}):
        judge(here, canary.since + 1, generation=1, verdict="reject", made_up=True, **more)
    assert "watched for" in watching.look()
    assert len(here.store.feedback.latest(500)) == 120
    assert [check["name"] for check in canary_verdict(here)["checks"] if check["answers"] == 1] == ["rejected"]
    # At the deadline too: it is a hundred per cent of what was said.
    assert watching.look(after_s=1_000) == ""
    assert ended(here).outcome == "promoted"


def canary_verdict(here: World) -> Any:
    """What is said of the watch so far."""
    canary = here.store.canaries.watched()
    assert canary is not None
    return canary.verdict


def judge(
    here: World, answered_at: float, *, generation: int, verdict: str, made_up: bool = False, **more: Any
) -> None:
    """Forty people say something of one answer each, or are said to by one who names them."""
    said = Partition("(feedback)", 0)
    begin = here.store.next_offset(said.topic, said.number) or 0
    opinions = tuple(
        Opinion(
            partition=said,
            offset=begin + number,
            **{
                "answer": f"cmpl-{begin + number}",
                "giver": f"giver-{number}",
                "key": f"user-{number}" if made_up else None,
                "group": number,
                **more,
            },
            verdict=verdict,
            generation=generation,
            answered_at=answered_at,
            given_at=answered_at,
        )
        for number in range(40)
    )
    here.store.append(Batch((), (), (), {said: begin + len(opinions)}, opinions=opinions))


def test_to_whom_it_was_a_canary_is_known_while_it_is_watched_and_after(watching: Watching) -> None:
    """By API key, through a restart of the serving process and one of the daemon, in the ledger and the audit log."""
    here, serving = watching.here, watching.serving
    watching.look()
    serving.askers = {"web": 3, "": 1}
    watching.look(after_s=10)
    serving.askers = {"web": 5, "": 1}
    watching.look(after_s=10)
    serving.restart(pid=2)
    serving.askers = {"web": 1, "app": 2}
    watching.look(after_s=10)
    serving.restart(pid=3)
    watching.watch = watching.start()
    serving.askers = {"app": 1}
    watching.look(after_s=10)
    canary = here.store.canaries.watched()
    assert canary is not None
    expected = [("web", 6), ("app", 3), ("", 1)]
    for told in (canary_standing(canary)["answered_to"], canary_line(canary)["answered_to"]):
        assert told is not None
        assert [(each["key"], each["requests"]) for each in told["by_key"]] == expected
    serving.answer("watched", 12, errors=12)
    serving.answer("serving", 100)
    assert watching.look() == ""
    (line,) = [line for line in here.store.audit.latest() if line.what == "taken_back"]
    assert line.detail["answered_to"] == dict(expected)


def test_a_slow_one_goes_back(watching: Watching) -> None:
    """By what clients wait for."""
    watching.look()
    for group in range(GROUPS):
        for side, seconds in (("watched", 1.0 + 0.01 * group), ("serving", -1.0 + 0.01 * group)):
            counts = watching.serving.counts[side][group]
            counts.answers, counts.firsts, counts.log_first = 4, 4, 4 * seconds
    assert watching.look() == ""
    assert "time to the first token" in ended(watching.here).verdict["sentence"]


def test_no_round_begins_while_one_is_watched_whoever_asks(watching: Watching) -> None:
    """The reason is the watch's own sentence."""
    said = watching.look()
    asks = Asks()
    asks.add(BY_HAND)
    here = watching.here
    loop = RoundsLoop(
        here.rooms,
        here.runner(),
        asks,
        here.current,
        settings=lambda: here.settings,
        shutdown=Shutdown(grace_seconds=1, round_grace_seconds=0),
        watch=watching.watch.look,
    )
    loop._watched = said
    assert loop.decision() == Wait(said)
    assert asks.pending() == (BY_HAND,)


def test_a_daemon_that_was_killed_goes_on_with_the_watch(watching: Watching) -> None:
    """What was counted counts, and so does the time; the process that is new counts from nothing."""
    watching.look()
    watching.serving.answer("watched", 290)
    watching.serving.answer("serving", 900)
    watching.look(after_s=60)
    watching.serving.restart(pid=2)
    watching.watch, watching.now = watching.start(), 5.0
    watching.serving.answer("watched", 20)
    said = watching.look()
    assert "answers more" not in said
    assert watching.look(after_s=50) == ""
    record = ended(watching.here)
    assert record.outcome == "promoted"
    assert record.verdict["answers"] == 310


@pytest.mark.parametrize("promote", [True, False])
def test_a_crash_between_ledger_and_pointer_is_made_good(
    watching: Watching, promote: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the next start, and without one by the loop's own repair."""
    here = watching.here
    watching.look()
    watching.serving.answer("watched", 400, errors=0 if promote else 200)
    watching.serving.answer("serving", 1200)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("checkpoints.files.durable_writes.replace_file", full)
        watching.look(after_s=120)
    assert pointed(here) == (0, 1)
    for repair in (repair_pointer, reconcile_pointer):
        repair(here.store, here.rooms.checkpoints)
        assert pointed(here) == ((1, None) if promote else (0, None))


def test_a_crash_right_after_the_acceptance_is_made_good(watching: Watching) -> None:
    """The ledger says that it is watched, and the pointer does not yet."""
    here = watching.here
    here.rooms.checkpoints.point_to(0)
    repair_pointer(here.store, here.rooms.checkpoints)
    assert pointed(here) == (0, 1)


def test_one_whose_files_break_goes_back(watching: Watching) -> None:
    """At a start, where the pointer cannot name it; what serves is not in question."""
    here = watching.here
    here.rooms.checkpoints.point_to(0)
    (here.rooms.checkpoints.path(1) / "model.safetensors").write_bytes(b"rotten")
    assert reconcile_pointer(here.store, here.rooms.checkpoints) == ""
    assert pointed(here) == (0, None)
    assert ended(here).outcome == "rolled_back"
    assert watching.look() == ""


def test_one_that_cannot_be_brought_in_goes_back(watching: Watching) -> None:
    """The second time, with serving's words; once may be a moment's want of memory."""
    watching.serving.loaded, watching.serving.pair = None, None
    watching.serving.failing, watching.serving.failures = 7, 2
    assert watching.look(), "that is another one's failure"
    watching.serving.failing, watching.serving.failures, watching.serving.why = 1, 1, "out of memory"
    assert watching.look()
    watching.serving.failures = 2
    assert watching.look() == ""
    assert ended(watching.here).verdict["sentence"] == "It cannot be brought in: out of memory."


def test_one_under_which_serving_processes_end_goes_back(watching: Watching) -> None:
    """The second that ends by itself; those that a restart of the daemon ends are none of it."""
    watching.look()
    watching.watch = watching.start()
    watching.look()
    for pid in (2, 3):
        assert watching.here.store.canaries.watched() is not None
        watching.serving.pid = None
        watching.look()
        watching.serving.restart(pid)
        watching.look()
    assert "2 serving processes ended" in ended(watching.here).verdict["sentence"]


def test_time_in_which_it_did_not_answer_is_no_watch(watching: Watching) -> None:
    """A minute of loading, and a machine that slept, count nothing for the window."""
    watching.serving.loaded = None
    watching.look(after_s=60)
    watching.serving.loaded = 1
    watching.look()
    watching.now += 10_000
    watching.look()
    watching.look()
    canary = watching.here.store.canaries.watched()
    assert canary is not None
    assert watching.watch._observed.traffic.watched_s <= 60
    assert watching.watch._observed.traffic.open_s <= 130


@pytest.mark.parametrize("away_s", [5, 300])
def test_time_in_which_the_process_was_away_is_no_watch(watching: Watching, away_s: int) -> None:
    """Ended, started anew or hanging: from the last answer before it to the first one after it nothing counts."""
    watching.look(after_s=50)
    before = watching.watch._observed.traffic
    watching.serving.pid = None
    watching.look(after_s=away_s)
    assert watching.watch._observed.traffic.watched_s == before.watched_s
    assert watching.watch._observed.traffic.open_s == before.open_s + away_s
    watching.serving.restart(pid=2)
    watching.look()
    watching.now += 10
    watching.look()
    assert watching.watch._observed.traffic.watched_s == before.watched_s + 10
    # One that was started anew between two looks had nothing loaded when it began.
    watching.serving.restart(pid=3)
    watching.now += 10
    watching.look()
    assert watching.watch._observed.traffic.watched_s == before.watched_s + 10


def test_what_was_never_brought_in_is_not_promoted_at_the_deadline(watching: Watching) -> None:
    """Serving is down all night, or hangs; once it is back the generation is watched as long as any."""
    watching.serving.pid = None
    said = watching.look(after_s=1_200)
    assert "was there to answer for 0 s of the 100 s" in said
    assert pointed(watching.here) == (0, 1)
    watching.watch = watching.start()
    watching.serving.pid, watching.serving.loaded = 1, None
    assert "for 0 s of the 100 s" in watching.look(after_s=1_200)
    watching.serving.loaded = 1
    assert "for 90 s of the 100 s" in watching.look(after_s=90)
    assert watching.look(after_s=10) == ""
    assert ended(watching.here).verdict["sentence"].startswith("Unproven at the deadline, but nothing")


def test_at_the_deadline_it_serves_where_nothing_looks_worse(watching: Watching) -> None:
    """Also where nobody asked anything."""
    assert watching.look(after_s=990)
    assert watching.look(after_s=20) == ""
    assert ended(watching.here).verdict["sentence"].startswith("Unproven at the deadline, but nothing")
    assert pointed(watching.here) == (1, None)


def test_counts_of_another_pair_are_none_of_it(watching: Watching) -> None:
    """Serving has not followed the pointer yet."""
    watching.serving.pair = (7, 8)
    watching.serving.answer("watched", 100, errors=100)
    watching.serving.answer("serving", 100)
    assert "300 answers more of it" in watching.look()


@pytest.mark.parametrize("bad", [[], [[1, 2]], "x", [["a"] * 6] * GROUPS, [[float("nan")] * 6] * GROUPS])
def test_counts_that_make_no_sense_are_left_out(watching: Watching, bad: object) -> None:
    """They are logged; the watch goes on."""
    ask: Callable[[], dict[str, Any] | None] = watching.serving.ask
    watching.watch._ask = lambda: {**(ask() or {}), "counts": {"watched": bad, "serving": bad}}
    assert "300 answers more of it" in watching.look()


def test_a_person_who_is_faster_is_not_overruled(watching: Watching) -> None:
    """Their word ends the watch, and nothing comes of the verdict."""
    here = watching.here
    watching.look()
    canary = here.store.canaries.watched()
    assert canary is not None
    here.store.generations.rollback(by="a person")
    watching.watch._end(canary, LiveVerdict("promote", "Proven."))
    assert ended(here).ended_by == "a person"
    assert here.store.generations.serving() == 0


def test_switched_off_a_generation_serves_at_once(tmp_path: Path) -> None:
    """As it does by default."""
    with world(tmp_path) as here:
        assert here.run().generation == 1
        assert here.store.canaries.watched() is None
        assert pointed(here) == (1, None)
