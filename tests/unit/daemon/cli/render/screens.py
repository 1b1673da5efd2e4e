"""Another screen for everything that prints facts."""

import pytest
from rich.console import Console

from daemon.cli.render import audit, canaries, findings, generations, kept, people, rounds, screen, skills, status


def show_on(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all that is printed go there."""
    for prints in (audit, canaries, findings, generations, kept, people, rounds, screen, skills, status):
        monkeypatch.setattr(prints, "console", console)
