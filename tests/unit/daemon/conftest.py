"""What holds for every test of the daemon."""

import pytest

from daemon import logs


@pytest.fixture(autouse=True)
def logging_stays_as_it_is(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that runs within a test routes no log: loggers remember it, and later tests would see no event."""
    if request.module.__name__.rpartition(".")[2] != "test_logs":
        monkeypatch.setattr(logs, "configure", lambda **_: None)
