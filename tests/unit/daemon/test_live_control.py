"""What only the running daemon knows of itself."""

from pathlib import Path

import pytest

from daemon.live_control import LiveControl, Views
from daemon.supervisor import Health, State
from daemon.triggers import Asks
from tests.unit.daemon.rooms import World, world

RUNNING = Health("ingest", State.RUNNING)


def live_control(here: World, part: Health = RUNNING, need_restart: tuple[str, ...] = ()) -> LiveControl:
    """The control of a daemon that has this part, and whose settings file says more than is in force."""
    views = Views(
        parts=lambda: (part,),
        ingest=None,
        serving=None,
        serving_address=None,
        next_round=lambda: "",
        problem=lambda: "",
        need_restart=lambda: need_restart,
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


def test_settings_that_wait_for_a_restart_are_shown(tmp_path: Path) -> None:
    """In the status, and where records were decoded again: by the settings in force, not by those on disk."""
    with world(tmp_path) as here:
        control = live_control(here, need_restart=("streams", "admin"))
        assert control.status()["need_restart"] == ["streams", "admin"]
        assert control.replay_dead_letters()["need_restart"] == ["streams"]
