"""Candidates between parent and result."""

import copy
import errno
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from checkpoints.files.label_names import NEW_WEIGHTS
from checkpoints.load import load_beside, load_model, load_tokenizer
from learner.weights.candidates import Line, copy_into, put_into, store_into, write_model
from learner.weights.grown_head import grow, head_inputs, imprint
from learner.weights.residual import Residuals, add_residual, is_rounded, round_into, thresholds
from learner.weights.streamed_tensors import StreamedTensors, write_streamed
from tests.disks import files_limited
from tests.unit.learner import tiny


def on_the_line(stored: Any, residuals: Residuals, result: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    """What a candidate was in versions that held all weights of parent and result in memory, and wrote it."""
    parent = tiny.weights_of(stored)
    for name, kept in residuals.items():
        parent[name] = parent[name].float()
        add_residual(parent[name], kept)
    drawn, trained, made = thresholds(), {name for name, _ in stored.named_parameters()}, {}
    for name, value in tiny.weights_of(stored).items():
        if not value.is_floating_point():
            made[name] = result.get(name, parent[name])
            continue
        master = torch.lerp(result.get(name, parent[name]).float(), parent[name].float(), share)
        made[name] = torch.empty_like(value)
        if name in trained and is_rounded(value):
            round_into(made[name], master, drawn)
        else:
            made[name].copy_(master)
    return made


def moved(model: Any, seed: int) -> dict[str, Tensor]:
    """The weights of a model after a round, in float32."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: value.float() * (1 + 0.01 * torch.randn(value.shape, generator=generator))
        if value.is_floating_point()
        else value + 1
        for name, value in tiny.weights_of(model).items()
    }


def with_buffers(dtype: torch.dtype) -> Any:
    """A Llama that counts, in whole numbers and in its own dtype."""
    model = tiny.llama(seed=1, dtype=dtype)
    model.register_buffer("seen", torch.tensor([3, 4]))
    model.register_buffer("scale", torch.ones(3, dtype=dtype))
    return model


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("of_an_adapter", [False, True])
def test_candidate_is_bit_for_bit_what_it_was_made_of_all_weights_at_once(
    tmp_path: Path, dtype: torch.dtype, *, of_an_adapter: bool
) -> None:
    """Through a file, from a parent that was rounded, in the model that scores it as in the one that is written."""
    stored = with_buffers(dtype)
    _, residuals = store_into(stored, Line(stored, {}, moved(stored, 2)).point(0.0))
    assert bool(residuals) == (dtype is not torch.float32)
    result = moved(stored, 3)
    if of_an_adapter:
        result = {name: value for name, value in result.items() if "mlp" in name}
    write_streamed(tmp_path / "w.safetensors", result)
    scored = with_buffers(torch.float32)
    for share in (0.0, 0.25, 0.75):
        expected = on_the_line(stored, residuals, result, share)
        written = copy.deepcopy(stored)
        line = Line(stored, residuals, StreamedTensors(tmp_path / "w.safetensors"))
        digest = put_into(scored, line.point(share))
        assert store_into(written, line.point(share))[0] == digest
        for name, value in tiny.weights_of(written).items():
            assert torch.equal(value, expected[name])
            assert torch.equal(tiny.weights_of(scored)[name], value.to(tiny.weights_of(scored)[name].dtype))
        # Over itself, weight by weight, as a round does that writes one alone.
        again = copy.deepcopy(stored)
        assert store_into(again, Line(again, residuals, result).point(share))[0] == digest


def test_candidates_of_a_head_that_grew_lie_between_the_new_rows(tmp_path: Path) -> None:
    """The line begins in the parent with the rows that training began with."""
    parent, result = tiny.bert(seed=1), tiny.bert(seed=1)
    none = head_inputs(parent, [])
    rows = imprint(parent, ["hail"], [none], none)
    grow(result, rows)
    with torch.no_grad():
        result.classifier.weight += 1
    made = tiny.bert(seed=2)
    grow(made, rows)
    put_into(made, Line.between(parent, {}, tiny.weights_of(result), rows).point(0.5))
    torch.testing.assert_close(made.classifier.weight, result.classifier.weight - 0.5)
    torch.testing.assert_close(made.classifier.weight[3:], rows.weights["classifier.weight"] + 0.5)
    assert parent.config.num_labels == 4


def test_digest_tells_one_bit() -> None:
    """Of a weight, of its shape and of its format."""
    model = tiny.llama()
    digest = put_into(model, Line(model, {}, {}).point(0.0))
    assert put_into(model, Line(model, {}, {}).point(0.5)) == digest, "between a model and itself lies nothing else"
    weight = model.model.norm.weight
    with torch.no_grad():
        weight[0] = torch.nextafter(weight[0], torch.tensor(2.0))
    assert put_into(model, Line(model, {}, {}).point(0.0)) != digest


def test_interpolation_is_rounded_once() -> None:
    """In bf16 the mean is that of float32, rounded up or down: differences below a step are not lost on the way."""
    stored = tiny.llama(seed=1, dtype=torch.bfloat16)
    parent = tiny.weights_of(stored)
    result = {name: value.float() * 1.001 for name, value in parent.items()}
    store_into(stored, Line(stored, {}, result).point(0.5))
    moved_by = rounded = 0.0
    for name, value in tiny.weights_of(stored).items():
        exact = torch.lerp(result[name], parent[name].float(), 0.5)
        assert (value.float() - exact).abs().max() <= 2**-7 * exact.abs().max()
        if value.ndim < 2:  # too few for a mean
            continue
        moved_by += float((exact - parent[name].float()).abs().sum())
        rounded += float((value.float().abs() - parent[name].float().abs()).sum())
    assert rounded == pytest.approx(moved_by, rel=0.1)


@pytest.mark.parametrize("tied", [True, False])
def test_candidate_is_a_whole_model_like_its_parent(tmp_path: Path, tied: bool) -> None:
    """It loads by itself, in the parent's dtype, tied where the parent is, with the parent's tokenizer."""
    base = tiny.generation(tmp_path, tiny.llama(dtype=torch.bfloat16, tied=tied), tiny.tokenizer(), "causal-lm")
    model = load_model(base.path, "causal-lm")
    write_model(tmp_path / "candidate", model, base.path)
    loaded = load_model(tmp_path / "candidate", "causal-lm")
    assert loaded.dtype == torch.bfloat16
    head, embedding = loaded.get_output_embeddings().weight, loaded.get_input_embeddings().weight
    assert (head is embedding) == tied
    for name, value in tiny.weights_of(loaded).items():
        assert torch.equal(value, tiny.weights_of(model)[name])
    assert load_tokenizer(tmp_path / "candidate").get_vocab() == load_tokenizer(base.path).get_vocab()


def test_a_candidate_no_longer_says_that_its_head_is_new(tmp_path: Path) -> None:
    """Else it would learn as fast as one that knows nothing, were it the base of another service."""
    made = tiny.bert()
    setattr(made.config, NEW_WEIGHTS, ["classifier.weight"])
    base = tiny.generation(tmp_path, made, tiny.tokenizer(bert=True), "classifier")
    model = load_model(base.path, "classifier")
    assert hasattr(model.config, NEW_WEIGHTS)
    write_model(tmp_path / "candidate", load_model(base.path, "classifier"), base.path)
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
    write_model(tmp_path / "candidate", load_model(parent, "causal-lm"), parent)
    assert (tmp_path / "candidate" / "generation_config.json").read_text() == said


def test_candidate_carries_no_lineage_of_its_parent(tmp_path: Path) -> None:
    """Card and manifest are the parent's own; the candidate gets its when it is published."""
    base = tiny.generation(tmp_path, tiny.llama(), tiny.tokenizer(), "causal-lm")
    write_model(tmp_path / "candidate", tiny.llama(seed=1), base.path)
    assert not {"card.json", "manifest.json"} & {file.name for file in (tmp_path / "candidate").iterdir()}


def test_weights_are_copied_into_another_dtype() -> None:
    """What is scored is what is stored, rounding included."""
    stored, scored = tiny.llama(seed=1, dtype=torch.bfloat16), tiny.llama(seed=2)
    copy_into(scored, stored)
    for name, value in tiny.weights_of(scored).items():
        assert torch.equal(value, tiny.weights_of(stored)[name].float())


def test_candidate_without_room_is_the_disks_error(tmp_path: Path) -> None:
    """With the operating system's number and the candidate's directory."""
    base = tiny.generation(tmp_path, tiny.llama(), tiny.tokenizer(), "causal-lm")
    with pytest.raises(OSError, match="candidate") as caught, files_limited(20_000):
        write_model(tmp_path / "candidate", tiny.llama(seed=1), base.path)
    assert caught.value.errno == errno.EFBIG
