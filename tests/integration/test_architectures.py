"""A dozen architectures from import to a round; `make test-models` takes all of them the same way."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.one_architecture import Row, take_whole_way, try_architecture
from benchmarks.tiny_architectures import tiny_model
from checkpoints.card import ModelKind
from checkpoints.probe.conduct import Conduct, Way

TOGETHER = "requests together, with a cache"
ALONE = "one request at a time, with a cache"


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize(
    ("name", "own", "served"),
    [
        ("llama", {}, TOGETHER),
        ("gpt2", {}, TOGETHER),
        ("mpt", {}, TOGETHER),
        ("mixtral", {}, TOGETHER),
        ("gemma3_text", {}, TOGETHER),
        ("roberta", {"is_decoder": True}, TOGETHER),
        ("mamba", {}, ALONE),
        ("mamba2", {}, ALONE),
        ("falcon_h1", {}, ALONE),
        ("openai-gpt", {}, "one request at a time, read anew for each token"),
    ],
)
def test_a_causal_model_answers_and_learns_as_by_whole_passes(
    name: str, own: dict[str, Any], served: str, tmp_path: Path
) -> None:
    """Alone and together; and documents score the same in a batch as by themselves."""
    row = try_architecture(name, "causal-lm", tmp_path, own=own)
    assert (row.wrong, row.refused, row.not_made) == ("", "", "")
    assert row.served.startswith(served)


@pytest.mark.parametrize("name", ["bert", "xlnet"])
def test_a_model_that_sees_later_tokens_gets_no_further_than_import(name: str, tmp_path: Path) -> None:
    """However its loss would fall."""
    row = try_architecture(name, "causal-lm", tmp_path)
    assert "sees later tokens" in row.refused


@pytest.mark.parametrize(
    ("name", "served"),
    [
        ("bert", "texts together, padded on the right"),
        ("xlnet", "texts together, padded on the left"),
        ("fnet", "one text at a time"),
    ],
)
def test_a_classifier_answers_and_learns_as_by_single_texts(name: str, served: str, tmp_path: Path) -> None:
    """Whatever shares a pass with a text."""
    row = try_architecture(name, "classifier", tmp_path)
    assert (row.wrong, row.refused, row.not_made, row.served) == ("", "", "", served)


@pytest.mark.parametrize("kind", ["causal-lm", "classifier"])
def test_the_whole_way_finds_a_model_that_is_asked_wrongly(
    kind: ModelKind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were all asked as most can be, the ones that cannot would be found."""
    name, own = ("roberta", {"is_decoder": True}) if kind == "causal-lm" else ("xlnet", {})
    everything_goes = pretended_conduct()
    monkeypatch.setattr("serving.generations.loading.conduct_of", lambda *_: everything_goes)
    model = tiny_model(name, kind, labels=3, own=own)
    assert take_whole_way(Row(name, kind), model, tmp_path).wrong


def pretended_conduct() -> Conduct:
    """That of a model that bears everything."""
    return Conduct(longest=96, rows_together=True, way=Way("shared", 0), padding="right", answered=(5, 6, 7))
