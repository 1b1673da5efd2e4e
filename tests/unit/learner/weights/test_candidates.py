"""Candidates between parent and result."""

import errno
import shutil
from pathlib import Path

import pytest
import torch

from checkpoints.files.label_names import NEW_WEIGHTS
from checkpoints.load import load_beside, load_model, load_tokenizer
from learner.weights.candidates import copy_into, interpolate_into, weights_of, write_candidate
from tests.disks import files_limited
from tests.unit.learner import tiny


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_candidate_lies_on_the_line_between_parent_and_result(share: float) -> None:
    """Each weight is the parent's share of the parent's and the rest of the result's."""
    parent, result, made = weights_of(tiny.llama(seed=1)), weights_of(tiny.llama(seed=2)), tiny.llama(seed=3)
    interpolate_into(made, parent, result, share)
    for name, value in weights_of(made).items():
        torch.testing.assert_close(value, share * parent[name] + (1 - share) * result[name])


def test_interpolation_is_rounded_once() -> None:
    """In bf16 the mean is that of float32, rounded up or down: differences below a step are not lost on the way."""
    stored = tiny.llama(seed=1, dtype=torch.bfloat16)
    parent = weights_of(stored)
    result = {name: value.float() * 1.001 for name, value in parent.items()}
    interpolate_into(stored, parent, result, 0.5)
    moved = rounded = 0.0
    for name, value in weights_of(stored).items():
        exact = torch.lerp(result[name], parent[name].float(), 0.5)
        assert (value.float() - exact).abs().max() <= 2**-7 * exact.abs().max()
        if value.ndim < 2:  # too few for a mean
            continue
        moved += float((exact - parent[name].float()).abs().sum())
        rounded += float((value.float().abs() - parent[name].float().abs()).sum())
    assert rounded == pytest.approx(moved, rel=0.1)


@pytest.mark.parametrize("tied", [True, False])
def test_candidate_is_a_whole_model_like_its_parent(tmp_path: Path, tied: bool) -> None:
    """It loads by itself, in the parent's dtype, tied where the parent is, with the parent's tokenizer."""
    base = tiny.generation(tmp_path, tiny.llama(dtype=torch.bfloat16, tied=tied), tiny.tokenizer(), "causal-lm")
    model = load_model(base.path, "causal-lm")
    write_candidate(tmp_path / "candidate", model, base.path)
    loaded = load_model(tmp_path / "candidate", "causal-lm")
    assert loaded.dtype == torch.bfloat16
    head, embedding = loaded.get_output_embeddings().weight, loaded.get_input_embeddings().weight
    assert (head is embedding) == tied
    for name, value in weights_of(loaded).items():
        assert torch.equal(value, weights_of(model)[name])
    assert load_tokenizer(tmp_path / "candidate").get_vocab() == load_tokenizer(base.path).get_vocab()


def test_a_candidate_no_longer_says_that_its_head_is_new(tmp_path: Path) -> None:
    """Else it would learn as fast as one that knows nothing, were it the base of another service."""
    made = tiny.bert()
    setattr(made.config, NEW_WEIGHTS, ["classifier.weight"])
    base = tiny.generation(tmp_path, made, tiny.tokenizer(bert=True), "classifier")
    model = load_model(base.path, "classifier")
    assert hasattr(model.config, NEW_WEIGHTS)
    write_candidate(tmp_path / "candidate", load_model(base.path, "classifier"), base.path)
    assert not hasattr(load_model(tmp_path / "candidate", "classifier").config, NEW_WEIGHTS)
    assert load_beside(model, tmp_path / "candidate") is not None


@pytest.mark.parametrize(
    "said",
    [
        '{"do_sample": true, "temperature": 0.6, "top_p": 0.9, "eos_token_id": [1, 5], "max_new_tokens": 7}',
        '{"do_sample": false, "temperature": 0.6, "top_k": 20}',
        '{"repetition_penalty": 1.1, "of_another_library": [1, {"a": null}]}',
    ],
)
def test_candidate_answers_by_its_parents_defaults(tmp_path: Path, said: str) -> None:
    """Its generation_config is the parent's, to the letter: also what contradicts itself, or nobody here knows."""
    made = tiny.generation(tmp_path, tiny.llama(), tiny.tokenizer(), "causal-lm").path
    parent = Path(shutil.copytree(made, tmp_path / "parent"))
    (parent / "generation_config.json").unlink(missing_ok=True)
    (parent / "generation_config.json").write_text(said)
    write_candidate(tmp_path / "candidate", load_model(parent, "causal-lm"), parent)
    assert (tmp_path / "candidate" / "generation_config.json").read_text() == said


def test_candidate_carries_no_lineage_of_its_parent(tmp_path: Path) -> None:
    """Card and manifest are the parent's own; the candidate gets its when it is published."""
    base = tiny.generation(tmp_path, tiny.llama(), tiny.tokenizer(), "causal-lm")
    write_candidate(tmp_path / "candidate", tiny.llama(seed=1), base.path)
    assert not {"card.json", "manifest.json"} & {file.name for file in (tmp_path / "candidate").iterdir()}


def test_weights_are_copied_into_another_dtype() -> None:
    """What is scored is what is stored, rounding included."""
    stored, scored = tiny.llama(seed=1, dtype=torch.bfloat16), tiny.llama(seed=2)
    copy_into(scored, stored)
    for name, value in weights_of(scored).items():
        assert torch.equal(value, weights_of(stored)[name].float())


def test_candidate_without_room_is_the_disks_error(tmp_path: Path) -> None:
    """With the operating system's number and the candidate's directory."""
    base = tiny.generation(tmp_path, tiny.llama(), tiny.tokenizer(), "causal-lm")
    with pytest.raises(OSError, match="candidate") as caught, files_limited(20_000):
        write_candidate(tmp_path / "candidate", tiny.llama(seed=1), base.path)
    assert caught.value.errno == errno.EFBIG
