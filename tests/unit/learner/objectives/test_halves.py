"""Logits a part at a time are those of the whole, in every kind of head, and so are gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from benchmarks.tiny_architectures import VOCABULARY, tiny_model
from learner.devices.device import choose
from learner.objectives import part_sizes
from learner.objectives.forward_pass import IGNORED, MicroBatch
from learner.objectives.halves import Halves
from learner.objectives.heads import LinearHead
from learner.objectives.importance import fisher
from learner.objectives.losses import CausalObjective
from learner.objectives.passes import CausalPass

# Scaled (cohere), by one (granite), capped (gemma2), with a bias (phi), tied (gpt2, bloom), behind a projection (opt),
# recurrent (mamba), within a decoder of its own (bart), a mixture (mixtral).
ARCHITECTURES = ["llama", "gpt2", "bloom", "opt", "phi", "gemma2", "granite", "cohere", "mamba", "bart", "mixtral"]
ROWS, WIDTH, REPLAYED = 4, 8, 2


def batch_of(vocabulary: int) -> MicroBatch:
    """Two new rows and two replayed ones, in which some places predict nothing."""
    ids = torch.randint(5, vocabulary, (ROWS, WIDTH), generator=torch.Generator().manual_seed(0))
    targets = ids.roll(-1, 1)
    targets[:, -1] = IGNORED
    targets[1, 3:] = IGNORED
    counted = torch.nonzero(targets.flatten() != IGNORED)[:, 0]
    cut = ROWS - REPLAYED
    places = (counted[counted < cut * WIDTH], counted[counted >= cut * WIDTH])
    return MicroBatch({"input_ids": ids, "use_cache": False}, targets, cut, widths=(WIDTH,) * ROWS, places=places)


def models(name: str) -> tuple[PreTrainedModel, PreTrainedModel]:
    """A model and its parent, which says something else."""
    torch.manual_seed(0)
    trained = tiny_model(name, "causal-lm").eval()
    torch.manual_seed(1)
    return trained, tiny_model(name, "causal-lm").eval()


def whole_gradients(model: PreTrainedModel, parent: PreTrainedModel, batch: MicroBatch) -> tuple[Any, Any]:
    """Loss terms and gradients where the logits of the whole batch are made at once, by autograd."""
    logits = model(**batch.inputs).logits.flatten(0, 1)
    with torch.no_grad():
        told = parent(**batch.inputs).logits.flatten(0, 1)
    new, replayed = batch.places
    targets = batch.targets.flatten()
    entropy = torch.nn.functional.cross_entropy
    terms = torch.stack(
        [
            entropy(logits[new], targets[new], reduction="sum"),
            entropy(logits[replayed], targets[replayed], reduction="sum"),
            torch.nn.functional.kl_div(
                logits[replayed].log_softmax(-1), told[replayed].log_softmax(-1), log_target=True, reduction="sum"
            ),
        ]
    )
    (terms.sum() / len(targets)).backward()
    return terms.detach(), gradients_of(model)


def gradients_of(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """What was added to the weights' gradients, which are cleared."""
    found = {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}
    model.zero_grad()
    return found


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_parts_give_the_losses_and_gradients_of_the_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In parts of seven places, for every kind of head, with a parent."""
    model, parent = models(name)
    batch = batch_of(int(model.get_output_embeddings().weight.shape[0]))
    terms, expected = whole_gradients(model, parent, batch)
    monkeypatch.setattr(part_sizes, "MOST_ELEMENTS", {"cpu": 7 * VOCABULARY, "cuda": 0})
    monkeypatch.setattr(part_sizes, "LEAST_SHARE_OF_WIDTH", 1 << 20)
    passed = CausalPass(Halves(model), Halves(parent), CausalObjective(1.0), choose("cpu", "float32"))
    torch.testing.assert_close(passed(batch, batch.targets.numel(), batch.targets.numel()), terms, rtol=1e-5, atol=1e-5)
    found = gradients_of(model)
    assert found.keys() == expected.keys()
    for weight, gradient in expected.items():
        torch.testing.assert_close(found[weight], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_the_body_is_found(name: str) -> None:
    """None of these has to be read whole."""
    model, _ = models(name)
    read = Halves(model).read(batch_of(VOCABULARY).inputs)
    assert read.hidden.shape[0] == ROWS * WIDTH
    assert read.hidden.shape[1] < VOCABULARY


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_head_is_taken_for_a_linear_map_only_where_it_is_one(name: str) -> None:
    """A cap or a scale is seen also where logits are so small that it hardly changes them, as those of a new model."""
    model, _ = models(name)
    head = model.get_output_embeddings()
    with torch.no_grad():
        head.weight.mul_(1e-2)
    assert isinstance(Halves(model).head, LinearHead) == (name not in {"gemma2", "cohere"})


class Unlike(LlamaForCausalLM):
    """Its logits depend on more than the last hidden states."""

    def forward(self, input_ids: Any = None, **named: Any) -> Any:
        """The whole's logits, with those of each place's own token raised."""
        output = super().forward(input_ids=input_ids, **named)
        raised = torch.nn.functional.one_hot(input_ids, output.logits.shape[-1]) * 5.0
        output.logits = output.logits + raised[:, : output.logits.shape[1]]
        return output


def test_a_model_that_cannot_be_read_in_halves_is_read_whole() -> None:
    """Its logits and gradients are right all the same."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    model, parent = Unlike(config), Unlike(config)
    model.train(mode=False)
    parent.train(mode=False)
    batch = batch_of(VOCABULARY)
    terms, expected = whole_gradients(model, parent, batch)
    assert Halves(model).read(batch.inputs).hidden.shape[1] == VOCABULARY
    passed = CausalPass(Halves(model), Halves(parent), CausalObjective(1.0), choose("cpu", "float32"))
    torch.testing.assert_close(passed(batch, batch.targets.numel(), batch.targets.numel()), terms, rtol=1e-5, atol=1e-5)
    for weight, gradient in gradients_of(model).items():
        torch.testing.assert_close(gradient, expected[weight], rtol=1e-4, atol=1e-6)


def test_the_largest_logits_are_those_of_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing as large as the logits of the batch is made by any operation, forward or backward."""
    model, parent = models("llama")
    batch = batch_of(VOCABULARY)
    monkeypatch.setattr(part_sizes, "MOST_ELEMENTS", {"cpu": 4 * VOCABULARY, "cuda": 0})
    monkeypatch.setattr(part_sizes, "LEAST_SHARE_OF_WIDTH", 1 << 20)
    passed = CausalPass(Halves(model), Halves(parent), CausalObjective(1.0), choose("cpu", "float32"))
    sizes = list[int]()
    with _Sizes(sizes.append):
        passed(batch, batch.targets.numel(), batch.targets.numel())
    weight = model.get_output_embeddings().weight.numel()
    assert max(size for size in sizes if size != weight) <= max(4 * VOCABULARY, ROWS * WIDTH * 64)


def test_importance_makes_no_more_logits_than_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does anything else that it is estimated with reach the size of a sequence's."""
    model, _ = models("llama")
    ids = torch.arange(ROWS * WIDTH)[None] % VOCABULARY
    monkeypatch.setattr(part_sizes, "MOST_ELEMENTS", {"cpu": 4 * VOCABULARY, "cuda": 0})
    monkeypatch.setattr(part_sizes, "LEAST_SHARE_OF_WIDTH", 1 << 20)
    sizes = list[int]()
    halves = Halves(model)
    with _Sizes(sizes.append):
        fisher(model, [{"input_ids": ids}], generator=torch.Generator().manual_seed(0), halves=halves)
    weight = model.get_output_embeddings().weight.numel()
    assert max(size for size in sizes if size != weight) <= 4 * VOCABULARY


class _Sizes(torch.utils._python_dispatch.TorchDispatchMode):
    """Tells of every result whose last dimension is the vocabulary."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self._tell = tell

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, and look at what it gave."""
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, torch.Tensor) and value.ndim and value.shape[-1] == VOCABULARY:
                self._tell(value.numel())
        return result
