"""Importance, as large as the model each time, is held no longer than a round needs it."""

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from learner import candidates as scoring
from learner import job
from learner.directory.report import Outcome
from learner.objectives.importance import Importance
from learner.round_importance import RoundImportance
from tests.unit.learner import tiny


@pytest.mark.usefixtures("torch_settings_kept")
def test_while_candidates_are_scored_no_importance_is_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what the round began with, nor what it measured, which is a file by then."""
    found: list[weakref.ref[Tensor]] = []
    held: list[int] = []

    def noted(which: str) -> None:
        asked = getattr(RoundImportance, which)

        def ask(self: RoundImportance, *of: Any) -> Importance | None:
            importance: Importance | None = asked(self, *of)
            found.extend(weakref.ref(value) for value in (importance or {}).values())
            return importance

        monkeypatch.setattr(RoundImportance, which, ask)

    def looked_at(candidates: Any) -> Iterator[tuple[str, Any]]:
        for name, model in candidates:
            gc.collect()
            held.append(sum(value() is not None for value in found))
            yield name, model

    score = scoring.score_candidates
    monkeypatch.setattr(
        job,
        "score_candidates",
        lambda bench, candidates, *rest, **named: score(bench, looked_at(candidates), *rest, **named),
    )
    noted("before")
    noted("after")
    base = tiny.generation(tmp_path / "g", tiny.llama(), tiny.tokenizer(), "causal-lm")
    path = tiny.causal_round(tmp_path / "round", base, recipe=tiny.SMALL.model_copy(update={"ewc": 1.0}))
    assert job.run_round(path).outcome is Outcome.TRAINED
    assert len(found) > 2
    assert held == [0, 0]
