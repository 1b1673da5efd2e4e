"""Attention that is told where pieces end: the same numbers, and no wait for the device."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    FalconConfig,
    FalconForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
)

from benchmarks.same_batches import feed, pack_documents, plan
from learner.devices.device import choose
from learner.objectives.losses import CausalObjective
from learner.objectives.packed_attention import PassedPieces, attend, tried
from learner.objectives.passes import CausalPass, pass_of
from learner.objectives.router_loss import RouterLoss
from learner.settings import RecipeSettings
from learner.training.train import Trainer
from tests.unit.learner import tiny

CPU = choose("cpu", "float32")
VOCABULARY, ROWS, WIDTH = len(tiny.tokenizer()), 6, 48
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
}
WINDOW = 4
"""Tokens that a layer sees at most: less than the pieces on which a model is tried have."""

FIT: dict[str, Callable[[], Any]] = {
    "Llama": tiny.llama,
    "GPT-2": tiny.gpt2,
    "Mistral": lambda: MistralForCausalLM(MistralConfig(**SMALL, sliding_window=WINDOW)),
    "Gemma 3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**SMALL, head_dim=8, sliding_window=WINDOW)),
    "Mixtral": lambda: MixtralForCausalLM(MixtralConfig(**SMALL, num_local_experts=4, router_aux_loss_coef=0.1)),
}
UNFIT: dict[str, Callable[[], Any]] = {
    "caps its scores": lambda: Gemma2ForCausalLM(Gemma2Config(**SMALL, head_dim=8)),
    "rows tell nothing of pieces": lambda: FalconForCausalLM(
        FalconConfig(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, alibi=True)
    ),
    "sees the future": tiny.masked,
}


def passes(make: Callable[[], Any], *, checkpointing: bool = False, distils: bool = True) -> tuple[CausalPass, Any]:
    """How a model with a parent is passed, and the model; dropout off, so that two passes give the same."""
    torch.manual_seed(0)
    model, parent = make(), make().eval()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    model.train()
    if checkpointing:
        model.activation_checkpointing_enable()
    made = pass_of(
        model, parent if distils else None, CausalObjective(float(distils)), CPU, router=RouterLoss.of(model)
    )
    assert isinstance(made, CausalPass)
    return made, model


def told_of_pieces(made: CausalPass) -> CausalPass:
    """The same pass as on a GPU."""
    parent = made.parent
    return replace(
        made,
        attention=tried(made.model.model, CPU),
        parents_attention=None if parent is None else tried(parent.model, CPU),
    )


def learned(made: CausalPass, model: Any) -> tuple[Tensor, list[Tensor]]:
    """Loss terms and gradients of a step of new and replayed rows, padded ones among them."""
    model.zero_grad()
    rows = pack_documents(2 * ROWS, WIDTH, VOCABULARY)
    (step,) = plan(1, ROWS, 0.5)
    terms = [made(batch, 100, 100) for batch in feed(rows, ROWS).micro_batches(step)]
    return torch.stack(terms).sum(0), [weight.grad for weight in model.parameters() if weight.grad is not None]


@pytest.mark.parametrize("checkpointing", [False, True], ids=["", "checkpointing"])
@pytest.mark.parametrize("name", FIT)
def test_losses_and_gradients_are_the_same(name: str, *, checkpointing: bool) -> None:
    """Windows, grouped heads, experts and layers that are read again in the backward pass too."""
    made, model = passes(FIT[name], checkpointing=checkpointing)
    as_a_gpu = told_of_pieces(made)
    assert as_a_gpu.attention is not None
    assert as_a_gpu.parents_attention is not None
    (terms, gradients), (own_terms, own_gradients) = (learned(each, model) for each in (as_a_gpu, made))
    torch.testing.assert_close(terms, own_terms)
    assert len(gradients) == len(own_gradients) > 0
    for ours, theirs in zip(gradients, own_gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("why", UNFIT)
def test_a_model_that_is_not_told_so_is_left_alone(why: str) -> None:
    """And attends as before."""
    model = UNFIT[why]()
    before = model.config._attn_implementation
    assert tried(model, CPU) is None
    assert model.config._attn_implementation == before


def test_on_a_cpu_attention_is_transformers_own() -> None:
    """Nothing waits there."""
    made, _ = passes(tiny.llama)
    assert (made.attention, made.parents_attention) == (None, None)


def test_attention_of_another_kind_is_refused() -> None:
    """Rather than computed as if it were this one."""
    state = torch.zeros(1, 1, 2, 8)
    batch = next(feed(pack_documents(2, WIDTH, VOCABULARY), 1).micro_batches(plan(1, 1)[0]))
    assert batch.pieces is not None
    told: dict[str, Any] = {"riverkeep_pieces": PassedPieces(batch.pieces)}
    for other in ({"softcap": 30.0}, {"s_aux": state}, {"is_causal": False}, {"riverkeep_pieces": None}):
        with pytest.raises(NotImplementedError):
            attend(torch.nn.Identity(), state, state, state, None, **(told | other))


class Waits(TorchDispatchMode):
    """Counts what a GPU's answer would be waited for."""

    NAMES = ("_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select", "_unique2")

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self.counted: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call it, and count it if it is one of them."""
        name = func._schema.name.removeprefix("aten::")
        by_mask = name.startswith("index") and any(
            isinstance(each, Tensor) and each.dtype == torch.bool
            for arg in args
            if isinstance(arg, list | tuple)
            for each in arg
        )
        if name in self.NAMES or by_mask:
            self.counted[name] += 1
        return func(*args, **(kwargs or {}))


# GPT-2 looks for padding itself, to warn of it, once a pass.
@pytest.mark.parametrize("name", sorted(FIT.keys() - {"GPT-2"}))
def test_a_step_waits_for_the_device_no_more_than_once(name: str) -> None:
    """For its figures, which are read together; the copy of these is no answer of one number."""
    made, model = passes(FIT[name])
    rows, recipe = pack_documents(3 * ROWS, WIDTH, VOCABULARY), RecipeSettings(batch_sequences=ROWS, micro_batch=2)
    trainer = Trainer(
        model,
        None,
        feed=feed(rows, 2),
        objective=made.objective,
        pull=None,
        recipe=recipe,
        peak_rate=1e-3,
        device=CPU,
    )
    trainer.compiling.pass_ = told_of_pieces(made)
    first, second, third = plan(3, ROWS, 0.5)
    trainer.step(first, 1.0, second)
    with Waits() as waits:
        trainer.step(second, 1.0, third)
    assert waits.counted.total() <= 1, waits.counted
