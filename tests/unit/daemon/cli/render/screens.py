"""Another screen for everything that prints facts."""

import pytest
from rich.console import Console

from daemon.cli.render import (
    comparisons,
    explained,
    findings,
    flips,
    generation_diffs,
    generations,
    history,
    kept,
    people,
    rounds,
    screen,
    settings,
    skills,
    status,
    streams,
    traces,
)

PRINTERS = (
    *(comparisons, explained, findings, flips, generation_diffs, generations, history, kept, people, rounds),
    *(screen, settings, skills, status, streams, traces),
)


def show_on(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all that is printed go there."""
    for prints in PRINTERS:
        monkeypatch.setattr(prints, "console", console)
