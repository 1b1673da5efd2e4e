"""Two generations beside each other: every figure is the ledger's."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.control.facts import generation_diffs
from daemon.control.facts.generation_diffs import merge_ranges
from daemon.control.without_daemon import StoreControl
from daemon.errors import UnknownThing
from streams.document import Batch, Document, Partition, partition_name
from tests.daemon_harness import sentences
from tests.unit.daemon.rooms import World, world


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Generation 1 of the base, 2 of 1, and after a rollback 3 of 1."""
    with world(tmp_path_factory.mktemp("diff"), gate={"minimum_documents": 5, "resamples": 200}) as made:
        for turn in range(3):
            partition = Partition(f"news-{turn}", 0)
            documents = tuple(
                Document(text, f"source-{turn}", f"user-{turn}-{at}", None, None, 1_700_000_000.0, partition, at)
                for at, text in enumerate(sentences(60, seed=50 + turn))
            )
            made.store.append(Batch(documents, (), (), {partition: len(documents)}))
            made.run("good")
            if turn == 1:
                made.store.generations.rollback(1, by="a test")
        yield made


def control(here: World) -> StoreControl:
    """As without a daemon."""
    return StoreControl(here.settings, here.store, here.rooms.checkpoints)


def test_a_child_is_told_by_its_round(here: World) -> None:
    """What it was given, from where; digests, sizes and scores as they are kept; the other way round changes turn."""
    answer, back = control(here).diff_generations(0, 1), control(here).diff_generations(1, 0)
    round_ = here.store.rounds.read(1)
    assert (answer["common"], answer["of_first"]["steps"]) == (0, [])
    (step,) = answer["of_second"]["steps"]
    assert (step["generation"], step["parent"], step["round"]) == (1, 0, 1)
    assert (step["fresh_samples"], step["fresh_tokens"]) == (round_.fresh_samples, round_.fresh_tokens)
    assert step["replay_samples"] == round_.replay_samples > 0
    assert step["offsets"] == {partition_name(name): list(ends) for name, ends in round_.offsets.items()}
    assert [(each["part"], each["source"], each["samples"]) for each in step["sources"]] == here.store.rounds.sources(1)
    assert answer["of_second"]["samples"] == round_.fresh_samples
    for side, number in ((answer["first"], 0), (answer["second"], 1)):
        assert side["digest"] == here.rooms.checkpoints.digest(number)
        assert side["bytes"] == here.rooms.checkpoints.size(number)
    assert (answer["first"]["serves"], answer["second"]["serves"]) == (False, False)
    first, second = here.losses(0), here.losses(1)
    assert {row["slice"] for row in answer["scores"]} == first.keys() | second.keys()
    for row in answer["scores"]:
        assert (row["first"], row["second"]) == (first.get(row["slice"]), second.get(row["slice"]))
    compared = [row for row in answer["scores"] if row["comparable"]]
    assert compared
    for row, turned in zip(answer["scores"], back["scores"], strict=True):
        if row["comparable"]:
            assert row["first"] is not None
            assert row["second"] is not None
            assert row["change"] == row["second"] - row["first"]
            assert turned["change"] == -row["change"]
    assert back["of_first"] == answer["of_second"]
    # The base has no recipe, which is said.
    assert {row["first"] for row in answer["recipe"]} == {None}
    assert "Of generation 0 there is no recipe" in " ".join(answer["notes"])


def test_lines_that_part_are_told_from_where_they_do(here: World) -> None:
    """Each with what only it has learned; recipes that are alike have no line."""
    answer = control(here).diff_generations(2, 3)
    assert answer["common"] == 1
    assert [step["generation"] for step in answer["of_first"]["steps"]] == [2]
    assert [step["generation"] for step in answer["of_second"]["steps"]] == [3]
    assert answer["second"]["serves"]
    # Retention took it once it was gone back from.
    assert (answer["first"]["state"], answer["first"]["bytes"]) == ("retired", None)
    assert answer["recipe"] == []
    assert answer["recipe_alike"] > 10
    same = control(here).diff_generations(3, 3)
    assert (same["of_first"]["steps"], same["of_second"]["steps"], same["common"]) == ([], [], 3)


def test_a_long_line_says_what_is_left_out(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest rounds are listed, and what is counted is theirs alone."""
    monkeypatch.setattr(generation_diffs, "MOST_STEPS", 1)
    answer = control(here).diff_generations(0, 2)["of_second"]
    assert ([step["generation"] for step in answer["steps"]], answer["left_out"]) == ([2], 1)
    assert answer["samples"] == here.store.rounds.read(2).fresh_samples


def test_there_must_be_both(here: World) -> None:
    """Or it is said which there is not."""
    for first, second in ((0, 99), (99, 0), (2**62, 1)):
        with pytest.raises(UnknownThing):
            control(here).diff_generations(first, second)


def test_erased_text_is_named(tmp_path: Path) -> None:
    """How much of which round, whether it was trained on or inherited."""
    with world(tmp_path, gate={"minimum_documents": 5, "resamples": 200}) as made:
        partition = Partition("news", 0)
        documents = tuple(
            Document(text, "news", "zoe" if at < 9 else f"user-{at}", None, None, 1_700_000_000.0, partition, at)
            for at, text in enumerate(sentences(60, seed=5))
        )
        made.store.append(Batch(documents, (), (), {partition: len(documents)}))
        made.run("good")
        found = control(made).find("zoe")
        trained = sum(round_["parts"].get("fresh", 0) for round_ in found["rounds"])
        control(made).forget("zoe")
        answer = control(made).diff_generations(0, 1)
        assert answer["of_second"]["erased"] == answer["of_second"]["steps"][0]["erased"] == trained
        assert answer["second"]["erased_text"] == ("trained" if trained else None)


spans = st.tuples(st.integers(0, 60), st.integers(0, 8)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(st.dictionaries(st.sampled_from(["a/0", "b/1"]), spans), max_size=8))
def test_ranges_cover_what_was_given_and_nothing_else(offsets: list[dict[str, tuple[int, int]]]) -> None:
    """In order, apart from each other."""
    merged = merge_ranges(offsets)
    for name in ("a/0", "b/1"):
        covered = {at for each in offsets if name in each for at in range(each[name][0], each[name][1] + 1)}
        ranges = merged.get(name, [])
        assert {at for first, last in ranges for at in range(first, last + 1)} == covered
        assert all(after[0] > before[1] + 1 for before, after in itertools.pairwise(ranges))
