"""What a round is given of its draw: only documents whose labels it can learn, and be judged by."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from checkpoints.generation_store import GenerationStore
from daemon.rounds.inputs import part_by_labels
from daemon.settings.tree import Settings
from memory.ledger.records import RoundDraw, Slice
from memory.samples.records import Role, Sample


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A classifier whose base answers two labels, and whose settings name a third."""
    base = GenerationStore(tmp_path / "checkpoints").path(0)
    base.mkdir(parents=True)
    (base / "config.json").write_text(json.dumps({"id2label": {"0": "calm", "1": "storm"}}))
    model = {"path": "m", "kind": "classifier", "labels": ["calm", "storm", "frost"]}
    return Settings.model_validate({"state_dir": str(tmp_path), "model": model, "learner": {"new_label_documents": 40}})


def samples(labels: Sequence[str | None], *, first: int = 0, key: int | None = None) -> tuple[Sample, ...]:
    """Documents with these labels."""
    return tuple(
        Sample(first + at, "text", "news", label, Role.FRESH, 1, key, None, 0.0) for at, label in enumerate(labels)
    )


def draw(fresh: tuple[Sample, ...]) -> RoundDraw:
    """A draw with these fresh documents, and one of each label among the others."""
    others = samples(["calm", "frost", "hail"], first=1000)
    slices = (Slice("new", "newest", "news", 1, 1, others), Slice("old", "period", "news", 0, 0, others[1:]))
    return RoundDraw(1, 7, 0, 0, fresh, others, others, slices, {})


def labels_in(part: Sequence[Sample]) -> set[str | None]:
    """The labels that documents have."""
    return {sample.label for sample in part}


def test_a_label_with_enough_documents_is_learned_but_not_judged_by(settings: Settings) -> None:
    """The parent has no answer to compare with; what nobody named is neither."""
    given, new = part_by_labels(draw(samples(["calm"] * 20 + ["frost"] * 40)), settings)
    assert new == ("frost",)
    assert labels_in(given.fresh) == labels_in(given.replay) == labels_in(given.early_stop) == {"calm", "frost"}
    assert [(piece.name, labels_in(piece.samples)) for piece in given.slices] == [("new", {"calm"})]


def test_where_little_else_is_new_it_is_judged_by_too(settings: Settings) -> None:
    """Else a round whose new text holds the new label alone could never be judged; older text is as ever."""
    fresh, others = samples(["frost"] * 60), samples(["calm"] * 5 + ["frost"] * 36 + ["hail"], first=2000)
    pieces = (Slice("new", "newest", "news", 1, 1, others), Slice("old", "period", "news", 0, 0, others[:12]))
    given, new = part_by_labels(RoundDraw(1, 7, 0, 0, fresh, (), (), pieces, {}), settings)
    assert new == ("frost",)
    kept = {piece.name: labels_in(piece.samples) for piece in given.slices}
    assert kept == {"new": {"calm", "frost"}, "old": {"calm"}}
    enough = samples(["calm"] * 36 + ["frost"] * 36, first=2000)
    given, _ = part_by_labels(
        RoundDraw(1, 7, 0, 0, fresh, (), (), (Slice("new", "newest", "news", 1, 1, enough),), {}), settings
    )
    assert labels_in(given.slices[0].samples) == {"calm"}


def test_what_is_judged_again_has_the_labels_that_it_was_trained_with(settings: Settings) -> None:
    """A label that was named since is nothing that its candidates could answer."""
    fresh, others = samples(["frost"] * 60), samples(["frost"] * 36, first=2000)
    drawn = RoundDraw(1, 7, 0, 0, fresh, (), (), (Slice("new", "newest", "news", 1, 1, others),), {})
    assert part_by_labels(drawn, settings, trained=("frost",)) == part_by_labels(drawn, settings)
    given, new = part_by_labels(drawn, settings, trained=())
    assert (given.slices, new) == ((), ())


@pytest.mark.parametrize("fresh", [samples(["frost"] * 39), samples(["frost"] * 500, key=7)])
def test_until_then_its_documents_wait(settings: Settings, fresh: tuple[Sample, ...]) -> None:
    """Neither trained on nor judged by: one document too few, and five hundred of one key."""
    given, new = part_by_labels(draw(fresh + samples(["calm"] * 5, first=600)), settings)
    assert new == ()
    assert labels_in(given.fresh) == labels_in(given.replay) == {"calm"}


def test_the_gates_minimum_is_the_least(settings: Settings) -> None:
    """Whatever the learner's setting says."""
    learner = settings.learner.model_copy(update={"new_label_documents": 5})
    eager = settings.model_copy(update={"learner": learner})
    assert part_by_labels(draw(samples(["frost"] * 35)), eager)[1] == ()
    assert part_by_labels(draw(samples(["frost"] * 36)), eager)[1] == ("frost",)


def test_a_language_models_draw_is_what_it_was(tmp_path: Path) -> None:
    """Its documents have no labels."""
    plain = Settings.model_validate({"state_dir": str(tmp_path), "model": {"path": "m"}})
    drawn = draw(samples([None] * 5))
    assert part_by_labels(drawn, plain) == (drawn, ())
