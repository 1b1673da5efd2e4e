"""The page of what is kept, and of what a round would be given now."""

from html import unescape

import pytest

from memory.errors import WrongState
from tests.unit.daemon.page.browsers import Browser
from tests.unit.daemon.page.conftest import Ground


def test_figures_are_those_of_the_store(ground: Ground, reader: Browser) -> None:
    """By source and role, by age, and of the next draw; the preview is an operation of its own."""
    memory, draw = ground.control.memory(), ground.control.next_draw()
    text = unescape(reader.get("/memory").text)
    counts = ground.here.store.counts()
    assert f"{counts.replay_samples:,} samples can be rehearsed" in text
    assert f"{counts.fresh_samples:,} fresh samples" in text
    for age in memory["ages"]:
        assert f'<td class="n">{age["samples"]:,}</td>' in text
    new = sum(part["samples"] for part in draw["parts"] if part["part"] == "fresh")
    replayed = sum(part["samples"] for part in draw["parts"] if part["part"] == "replay")
    assert f"{new:,} new samples to train on and {replayed:,} replayed" in text
    assert f"What round {draw['round']} would be given now" in text
    assert reader.get("/memory?format=json").json() == memory
    assert reader.get("/memory/next-draw?format=json").json() == draw


def test_where_no_draw_can_be_foreseen_the_page_says_why(
    ground: Ground, reader: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And shows the rest."""

    def none(*_: object) -> None:
        raise WrongState("No base model is registered")

    monkeypatch.setattr(type(ground.here.store.rounds), "foreseen_draw", none)
    page = reader.get("/memory")
    assert page.status_code == 200
    assert "No base model is registered." in page.text
    assert "can be rehearsed" in page.text
