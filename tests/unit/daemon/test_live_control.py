"""What only the running daemon knows of itself."""

from pathlib import Path

import pytest

from daemon.live_control import LiveControl, Views
from daemon.supervisor import Health, State
from daemon.triggers import Asks
from tests.unit.daemon.rooms import world


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
        views = Views(
            parts=lambda: (part,),
            ingest=None,
            serving=None,
            serving_address=None,
            next_round=lambda: "",
            problem=lambda: "",
            started_at=0.0,
        )
        control = LiveControl(
            here.settings,
            here.store,
            here.rooms.checkpoints,
            views=views,
            asks=Asks(),
            current=here.current,
            promotion=here.promotion,
        )
        assert control.health()["healthy"] is healthy
        assert control.readiness()["ready"] is (part.state is State.RUNNING)
