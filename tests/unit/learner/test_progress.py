"""What a round says while it runs."""

import io
import json
from pathlib import Path

import torch

from learner.devices.device import Device
from learner.progress import HEARTBEAT_S, INTERVAL_S, WORK_INTERVAL_S, Progress


class Clock:
    """Time that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        """Seconds."""
        return self.now


def events(path: Path) -> list[dict[str, object]]:
    """What was written."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_event_is_one_line_in_the_file_and_on_the_output(tmp_path: Path) -> None:
    """Both carry the same JSON objects, at once."""
    echo = io.StringIO()
    with Progress(tmp_path / "p.jsonl", echo, clock=Clock()) as progress:
        progress.say("step", step=1, losses={"new": 2.5})
        assert events(tmp_path / "p.jsonl") == [{"event": "step", "step": 1, "losses": {"new": 2.5}, "seconds": 0.0}]
        assert echo.getvalue() == (tmp_path / "p.jsonl").read_text()


def test_steps_are_told_at_an_interval(tmp_path: Path) -> None:
    """Nothing is due right after something was said."""
    clock = Clock()
    with Progress(tmp_path / "p.jsonl", clock=clock) as progress:
        progress.say("step")
        assert not progress.due()
        clock.now += INTERVAL_S
        assert progress.due()


def test_a_long_silence_is_broken(tmp_path: Path) -> None:
    """A slow phase says that it lives, and no more often than it must."""
    clock = Clock()
    with Progress(tmp_path / "p.jsonl", clock=clock) as progress, progress.phase("score"):
        progress.alive()
        clock.now += HEARTBEAT_S
        progress.alive()
        progress.alive()
    assert [event["event"] for event in events(tmp_path / "p.jsonl")] == ["phase", "alive"]


def test_a_phase_tells_how_much_of_how_much_is_done_and_when_it_ends(tmp_path: Path) -> None:
    """At most once a second, at the speed so far; what is counted in another unit is other work."""
    clock = Clock()
    with Progress(tmp_path / "p.jsonl", clock=clock) as progress, progress.phase("score", "tokens", 400):
        for _ in range(4):
            clock.now += WORK_INTERVAL_S / 2
            progress.advance("tokens", 50)
            progress.advance("sequences", 50)
    told = [(event["event"], event["done"], event["seconds_left"]) for event in events(tmp_path / "p.jsonl")]
    assert told == [("phase", 0, None), ("work", 100, 3.0), ("work", 200, 2.0)]


def test_a_phase_with_a_limit_ends_by_then(tmp_path: Path) -> None:
    """Training for at most so many seconds; steps tell it too, however often work is told between them."""
    clock = Clock()
    progress = Progress(tmp_path / "p.jsonl", clock=clock)
    with progress, progress.phase("train", "sequences", 1000, most_seconds=60):
        clock.now += 10
        progress.advance("sequences", 10)
        assert progress.due()
        progress.say("step", step=1)
    *_, work, step = events(tmp_path / "p.jsonl")
    assert (work["seconds_left"], step["seconds_left"], step["done"], step["step"]) == (50.0, 50.0, 10, 1)


def test_phases_of_one_name_add_up(tmp_path: Path) -> None:
    """A phase that is entered twice is measured whole."""
    clock = Clock()
    with Progress(tmp_path / "p.jsonl", clock=clock) as progress:
        for _ in range(2):
            with progress.phase("score"):
                clock.now += 3
    assert progress.phase_seconds == {"score": 6.0}


def test_figure_that_is_not_finite_stays_json(tmp_path: Path) -> None:
    """It is written as null."""
    with Progress(tmp_path / "p.jsonl", clock=Clock()) as progress:
        progress.say("step", loss=float("nan"))
    assert events(tmp_path / "p.jsonl")[0]["loss"] is None


def test_what_was_measured_before_the_device_was_known_is_not_its_memory(tmp_path: Path) -> None:
    """Main memory's bytes are none of a GPU's; on a CPU they are the same."""
    for kind, kept in (("cpu", {"verify", "load"}), ("meta", {"load"})):
        with Progress(tmp_path / f"{kind}.jsonl") as progress:
            with progress.phase("verify"):
                pass
            with progress.phase("load"):
                progress.watch(Device(torch.device(kind), kind, torch.float32))
            assert set(progress.phase_peak_bytes) == kept
            assert all(progress.phase_peak_bytes.values())
