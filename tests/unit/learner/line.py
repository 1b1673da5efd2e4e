"""Generations of one base, each made by a round from the one before."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from checkpoints.card import Card, ModelKind
from checkpoints.generation_store import GenerationStore
from checkpoints.load import load_model
from learner.directory.report import Outcome, Report
from learner.directory.round_directory import GenerationRef, RoundSample, RoundSlice, write_round
from learner.job import run_round
from learner.settings import RecipeSettings
from tests.unit.learner import tiny


class Line:
    """The generations of a model.

    Args:
        home: where generations and rounds are made.
        model: the base.
        kind: of the model.
        recipe: of rounds, where they are given no other.

    Attributes:
        latest: the generation that the next round begins from.
    """

    def __init__(
        self, home: Path, model: Any, kind: ModelKind = "causal-lm", *, recipe: RecipeSettings = tiny.SMALL
    ) -> None:
        self.home, self.kind, self.recipe = home, kind, recipe
        tokenizer = tiny.tokenizer(bert=kind == "classifier")
        self.base = tiny.generation(home, model, tokenizer, kind)
        self.store, self.latest = GenerationStore(home), self.base

    def write(
        self,
        recipe: RecipeSettings | None = None,
        name: str = "round",
        *,
        fresh: Sequence[RoundSample] | None = None,
        early_stop: Sequence[RoundSample] = (),
        **more: Any,
    ) -> Path:
        """Write the next round's directory; `more` is of its specification."""
        number = self.latest.generation + 1
        path = self.home / f"{name}-{number}"
        spec = replace(
            tiny.spec_for(self.base, kind=self.kind, recipe=recipe or self.recipe, round=number, **more),
            parent=GenerationRef(self.latest.generation, self.latest.digest),
        )
        text = self._text(number) if fresh is None else {**self._text(number), "fresh": fresh}
        write_round(path, spec, parent_dir=self.latest.path, base_dir=self.base.path, early_stop=early_stop, **text)
        return path

    def _text(self, seed: int) -> dict[str, Any]:
        if self.kind == "classifier":
            return {
                "fresh": tiny.labelled(40, seed=seed),
                "replay": tiny.labelled(20, seed=2, first=1000),
                "slices": [RoundSlice("anchor", "anchor", "river", tuple(tiny.labelled(8, seed=3, first=3000)))],
            }
        return {
            "fresh": tiny.samples(30, seed=seed, nouns=tiny.NEW_NOUNS),
            "replay": tiny.samples(20, seed=2, first=1000),
            "slices": [
                RoundSlice("1", "period", "river", tuple(tiny.samples(8, seed=4, first=4000, nouns=tiny.NEW_NOUNS)))
            ],
        }

    def run(self, recipe: RecipeSettings | None = None, share: str = "0.00") -> Report:
        """Run the next round; what has this share of its parent is the next generation."""
        path = self.write(recipe)
        report = run_round(path)
        assert report.outcome is Outcome.TRAINED, report.detail
        self.accept(path, share)
        return report

    def accept(self, path: Path, share: str = "0.00") -> None:
        """Let what a round made be the next generation."""
        number = self.latest.generation + 1
        card = Card(number, self.kind, number - 1, number)
        self.latest = self.store.publish(path / "candidates" / share, number, card)
        self.store.verify(number)

    def weights(self, number: int | None = None) -> dict[str, torch.Tensor]:
        """A generation's weights as it serves on a CPU."""
        path = self.latest.path if number is None else self.store.path(number)
        return tiny.weights_of(load_model(path, self.kind, dtype=torch.float32))
