"""A round's directory, written and read."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.directory.less_memory import halve_micro_batch, limit_micro_batch
from learner.directory.plausibility_bounds import PlausibilityBounds, TextBounds
from learner.directory.round_directory import (
    KNOWN_SCORES,
    GenerationRef,
    RoundSample,
    RoundSlice,
    RoundSpec,
    candidate_name,
    read_round,
    write_round,
)
from learner.errors import BadRoundDirectory
from learner.settings import RecipeSettings
from memory.ledger.records import DocumentScore
from memory.ledger.scorings import Scoring

texts = st.text(st.characters(exclude_categories=["Cs"]))


def spec(**changes: object) -> RoundSpec:
    """A round with nothing left at its default."""
    fields: dict[str, object] = {
        "round": 3,
        "kind": "classifier",
        "seed": 5,
        "parent": GenerationRef(2, "aa"),
        "base": GenerationRef(0, "bb"),
        "recipe": RecipeSettings(micro_batch=5, interpolation=(0.0, 0.3), max_seconds=2.5),
        "device": "cpu",
        "threads": 1,
        "plausibility": PlausibilityBounds(TextBounds(1.0, 2.0, 0.5), {"x": TextBounds(3.0)}, 7),
        "plausibility_documents": 9,
        "approved": True,
        **changes,
    }
    return RoundSpec(**fields)  # type: ignore[arg-type]  # any of its fields


SCORED = Scoring("cpu", "float32", 512, 2)


def written(tmp_path: Path, *samples: RoundSample, **recipe: int) -> Path:
    """A round that has these samples everywhere, and some other settings of its recipe."""
    model = tmp_path / "model"
    (model / "importance").mkdir(parents=True, exist_ok=True)
    (model / "model.safetensors").write_bytes(b"weights")
    (model / "importance" / "importance.safetensors").write_bytes(b"importance")
    path = tmp_path / "round"
    write_round(
        path,
        spec(recipe=spec().recipe.model_copy(update=recipe)),
        parent_dir=model,
        base_dir=model,
        fresh=samples,
        replay=samples,
        early_stop=samples,
        slices=[RoundSlice("anchor", "anchor", "river", samples), RoundSlice("2-3", "period", "sea", ())],
        known_parent={1: DocumentScore(1, 1.5, 4)},
        known_base={2: DocumentScore(2, 0.5, 1, "calm")},
        scored=SCORED,
    )
    return path


@given(st.lists(st.tuples(texts, texts, st.none() | texts), max_size=5))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]) -> None:
    """Any text, with line separators and NUL in it, comes back as it was."""
    samples = tuple(RoundSample(at, text, source, label) for at, (text, source, label) in enumerate(rows))
    found = read_round(written(tmp_path_factory.mktemp("round"), *samples))
    assert found.spec == spec()
    assert found.fresh == found.replay == found.early_stop == samples
    assert found.slices == (RoundSlice("anchor", "anchor", "river", samples), RoundSlice("2-3", "period", "sea", ()))
    assert found.known_parent == {1: DocumentScore(1, 1.5, 4)}
    assert found.known_base == {2: DocumentScore(2, 0.5, 1, "calm")}
    assert found.scored == SCORED
    assert found.known_as(SCORED) == found
    other = found.known_as(replace(SCORED, precision="bfloat16"))
    assert other.known_parent == other.known_base == other.known_best == {}


def test_weights_are_written_where_there_are_any(tmp_path: Path) -> None:
    """A directory without any is what it was before there were weights."""
    samples = (RoundSample(1, "text", "river"), RoundSample(2, "better", "feedback", weight=2.5))
    path = written(tmp_path, *samples)
    assert read_round(path).fresh == samples
    assert [b"weight" in line for line in (path / "fresh.jsonl").read_bytes().splitlines()] == [False, True]


def test_known_scores_of_an_earlier_version_are_read_and_not_used(tmp_path: Path) -> None:
    """Nobody knows how they were taken."""
    path = written(tmp_path)
    (path / KNOWN_SCORES).write_text('{"parent": {"1": [1.5, 4, null]}, "base": {}}')
    found = read_round(path)
    assert found.known_parent == {1: DocumentScore(1, 1.5, 4)}
    assert found.known_as(SCORED).known_parent == {}


def test_generations_are_linked_whole(tmp_path: Path) -> None:
    """A round costs no second copy of the weights, and importance comes along."""
    path = written(tmp_path)
    assert (path / "parent" / "model.safetensors").samefile(tmp_path / "model" / "model.safetensors")
    assert (path / "base" / "importance" / "importance.safetensors").read_bytes() == b"importance"


def test_generations_are_copied_where_links_are_impossible(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another file system is no obstacle."""

    def refuse(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refuse)
    assert (written(tmp_path) / "parent" / "model.safetensors").read_bytes() == b"weights"


def test_nothing_is_written_over_another_round(tmp_path: Path) -> None:
    """A directory that is there already is not touched."""
    written(tmp_path)
    with pytest.raises(FileExistsError):
        written(tmp_path)


@pytest.mark.parametrize(
    "name", ["round.json", "fresh.jsonl", "replay.jsonl", "early_stop.jsonl", "slices.json", "known_scores.json"]
)
def test_missing_file_is_named(tmp_path: Path, name: str) -> None:
    """The error says which file is not there."""
    path = written(tmp_path, RoundSample(1, "text", "river"))
    (path / name).unlink()
    with pytest.raises(BadRoundDirectory, match=name):
        read_round(path)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("round.json", "{", "cannot be read"),
        ("round.json", '{"format": 99}', "another version"),
        ("round.json", '{"format": 1, "kind": "causal-lm"}', "does not describe a round: round.round is missing"),
        ("fresh.jsonl", '{"id": 1}\n', "line 1, is not a sample"),
        (
            "fresh.jsonl",
            '{"id": "1", "text": "a", "source": "s", "label": null}\n',
            "sample.id is text, not a whole number",
        ),
        (
            "fresh.jsonl",
            '{"id": 1, "text": "a", "source": "s", "label": null, "weight": 0}\n',
            "a weight is greater than 0 and finite",
        ),
        ("slices.json", '[{"name": "a"}]', r"does not list slices: slices\[0\].kind is missing"),
        ("known_scores.json", '{"parent": {"1": [0]}}', r"scores of parent and base: scores.parent.1\[1\] is missing"),
    ],
)
def test_damage_is_named(tmp_path: Path, name: str, content: str, said: str) -> None:
    """The error says where and what."""
    path = written(tmp_path, RoundSample(1, "text", "river"))
    (path / name).write_text(content)
    with pytest.raises(BadRoundDirectory, match=said):
        read_round(path)


def test_micro_batch_is_halved_until_it_is_one(tmp_path: Path) -> None:
    """A round that ran out of memory is tried with less, and nothing else about it changes."""
    path = written(tmp_path)
    assert [halve_micro_batch(path) for _ in range(3)] == [2, 1, None]
    assert read_round(path).spec == spec(recipe=spec().recipe.model_copy(update={"micro_batch": 1}))


def test_half_of_a_micro_batch_that_no_batch_fills_is_half_of_a_batch(tmp_path: Path) -> None:
    """Else a round would be tried in vain until it is smaller than a batch."""
    path = written(tmp_path, batch_sequences=4)
    assert halve_micro_batch(path) == 2


@pytest.mark.parametrize(("most", "changed", "left"), [(2, True, 2), (5, False, 5), (9, False, 5)])
def test_micro_batch_is_limited_before_a_round_begins(tmp_path: Path, most: int, changed: bool, left: int) -> None:
    """One that is no larger stays, and nothing else about the round changes."""
    path = written(tmp_path)
    assert limit_micro_batch(path, most) == changed
    assert read_round(path).spec == spec(recipe=spec().recipe.model_copy(update={"micro_batch": left}))


def test_candidates_are_named_by_the_parents_share() -> None:
    """Two places are enough for the shares that make sense, and others are named in full."""
    named = {0.0: "0.00", 0.25: "0.25", 0.5: "0.50", 1.0: "1.00", 0.001: "0.001", 0.004: "0.004", 1e-6: "0.000001"}
    assert {share: candidate_name(share) for share in named} == named


@given(st.lists(st.integers(0, 999_999).map(lambda millionths: millionths / 1e6), min_size=2, max_size=11, unique=True))
def test_each_share_has_its_own_name_and_names_order_like_shares(shares: list[float]) -> None:
    """Candidates do not overwrite each other, and the gate takes the smallest share of equals by its name."""
    recipe = RecipeSettings(interpolation=tuple(shares))
    names = [candidate_name(share) for share in sorted(recipe.interpolation)]
    assert names == sorted(set(names))
    assert [float(name) for name in names] == sorted(recipe.interpolation)
