"""Fisher information against what it is known to be."""

import errno
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaForCausalLM

from learner.errors import BadRoundDirectory
from learner.objectives.halves import Halves
from learner.objectives.heads import LinearHead, NoHead, OwnHead
from learner.objectives.importance import (
    carry_over,
    fisher,
    load_importance,
    normalise,
    sample_classes,
    save_importance,
)
from tests.disks import files_limited
from tests.unit.learner import tiny


class SoftmaxRegression(nn.Module):
    """Logits W x, of shape (rows, classes)."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([[0.5, -1.0], [0.0, 0.3], [-0.7, 0.9]]))

    def forward(self, x: Tensor) -> SimpleNamespace:
        """Multiply."""
        return SimpleNamespace(logits=x @ self.weight.T)


def estimate(model: Any, inputs: list[Tensor]) -> Tensor:
    """The Fisher diagonal of the regression's weight."""
    return fisher(model, [{"x": x} for x in inputs], generator=torch.Generator().manual_seed(0))["weight"]


def test_fisher_is_the_analytic_one_of_a_softmax_regression() -> None:
    """For W x it is E[p_c (1 - p_c) x_j²], here normalised to mean 1."""
    model = SoftmaxRegression()
    points = [torch.tensor([[1.0, 2.0]]), torch.tensor([[-1.5, 0.5]])]
    analytic = torch.zeros_like(model.weight)
    for x in points:
        p = torch.softmax(model(x).logits.detach(), -1)[0]
        analytic += (p * (1 - p))[:, None] * x**2
    expected = analytic / analytic.mean()
    torch.testing.assert_close(estimate(model, points * 1500), expected, rtol=0.1, atol=0.02)


def test_answers_are_drawn_as_often_as_they_are_probable() -> None:
    """What has no probability is never drawn, in whatever place it stands."""
    probabilities = torch.tensor([[0.0, 0.7, 0.0, 0.25, 0.05, 0.0], [0.5, 0.0, 0.0, 0.0, 0.0, 0.5]])
    drawn = sample_classes(probabilities.repeat(5000, 1), torch.Generator().manual_seed(0))
    shares = torch.stack([torch.bincount(drawn[row::2, 0], minlength=6) for row in range(2)]) / 5000
    torch.testing.assert_close(shares, probabilities, rtol=0, atol=0.03)
    assert (shares[probabilities == 0] == 0).all()


def test_fisher_of_a_language_model_has_mean_one() -> None:
    """A strength means the same for every model; the model is left without gradients and in its mode."""
    model = tiny.llama().train()
    inputs = [{"input_ids": torch.arange(6 + at)[None]} for at in range(4)]
    found = fisher(model, inputs, generator=torch.Generator().manual_seed(0))
    values = torch.cat([value.flatten() for value in found.values()])
    assert values.mean().item() == pytest.approx(1.0, rel=1e-4)
    assert values.min() >= 0
    assert model.training
    assert all(weight.grad is None for weight in model.parameters())


def capped() -> Any:
    """A Gemma 2, whose logits are capped."""
    torch.manual_seed(0)
    config = Gemma2Config(
        vocab_size=40,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        final_logit_softcapping=2.0,
    )
    return Gemma2ForCausalLM(config)


class Whole(LlamaForCausalLM):
    """A Llama that nobody can read in halves: it moves its logits by where they stand."""

    def forward(self, *arguments: Any, **named: Any) -> Any:
        """Its own, moved."""
        output = super().forward(*arguments, **named)
        output.logits = output.logits + torch.arange(output.logits.shape[1])[:, None] * torch.linspace(0, 0.1, 27)
        return output


def read_whole() -> Any:
    """One of the vocabulary of the tests' tokenizer."""
    config = tiny.llama().config
    config.vocab_size = 27
    torch.manual_seed(0)
    return Whole(config)


@pytest.mark.parametrize(
    ("make", "head"),
    [
        (tiny.llama, LinearHead),
        (lambda: tiny.llama(tied=False), LinearHead),
        (tiny.gpt2, LinearHead),
        (capped, OwnHead),
        (read_whole, NoHead),
    ],
)
@pytest.mark.parametrize("places", [1, 5, 1000])
def test_logits_a_part_at_a_time_say_what_all_at_once_say(
    make: Callable[[], Any], head: type, places: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same answers are drawn, and each weight matters the same, however many places a part has."""
    model = make().eval()
    assert isinstance(Halves(model).head, head)
    inputs = [{"input_ids": (torch.arange(3 + 5 * at) * 7 % 27)[None]} for at in range(4)]
    whole = fisher(model, inputs, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(Halves, "places_of_part", lambda *_: places)
    found = fisher(model, inputs, generator=torch.Generator().manual_seed(0), halves=Halves(model))
    for name, value in whole.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-6 * float(value.max()))


def test_importance_of_earlier_rounds_decays() -> None:
    """The decayed earlier one and this round's are added, and nothing else is done to them."""
    earlier, this = {"w": torch.tensor([2.0, 0.0])}, {"w": torch.tensor([0.0, 2.0])}
    torch.testing.assert_close(carry_over(earlier, this, decay=0.5)["w"], torch.tensor([1.0, 2.0]))
    assert carry_over(None, this, decay=0.5) == this


@pytest.mark.parametrize("decay", [0.5, 0.9, 1.0])
def test_oldest_of_eight_rounds_keeps_its_share_of_the_sum(decay: float) -> None:
    """At 0.9 it is 8.4 %, where bringing the sum to mean 1 in every round leaves 0.5 %."""
    rounds = 8
    carried = None
    for number in range(rounds):
        # A weight for each round, which that one alone finds important.
        measured = normalise({"w": torch.eye(rounds)[number]})
        carried = carry_over(carried, measured, decay=decay)
    assert carried is not None
    shares = carried["w"] / carried["w"].sum()
    expected = torch.tensor([decay ** (rounds - 1 - number) for number in range(rounds)])
    torch.testing.assert_close(shares, expected / expected.sum(), rtol=1e-5, atol=0)


class TwoTopics(nn.Module):
    """A language model of two features, whose text is about one of them; logits of shape (1, tokens, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))

    def forward(self, *, topic: int, tokens: int) -> SimpleNamespace:
        """The same at each place."""
        chosen = (self.first, self.second)[topic]
        return SimpleNamespace(logits=chosen.expand(1, tokens, 2))


def test_long_sequences_count_no_more_than_short_ones() -> None:
    """Two hundred texts of 2 tokens and as many of 100 say the same of the weights that each is about."""
    texts = [{"topic": topic, "tokens": (2, 100)[topic]} for topic in (0, 1)] * 200
    found = fisher(TwoTopics(), texts, generator=torch.Generator().manual_seed(0))
    assert found["first"].mean().item() == pytest.approx(found["second"].mean().item(), rel=0.2)


def test_importance_of_nothing_is_even() -> None:
    """Where no gradient says anything, every weight matters the same."""
    assert normalise({"w": torch.zeros(3)})["w"].tolist() == [1, 1, 1]


def test_importance_survives_its_file(tmp_path: Path) -> None:
    """What is written is what is read; where nothing was written there is none."""
    path = tmp_path / "importance" / "importance.safetensors"
    shapes = {"w": torch.Size([2])}
    assert load_importance(path, shapes) is None
    save_importance(path, {"w": torch.tensor([0.5, 1.5])})
    found = load_importance(path, shapes)
    assert found is not None
    assert found["w"].tolist() == [0.5, 1.5]


@pytest.mark.parametrize("shapes", [{"w": torch.Size([3])}, {"v": torch.Size([2])}])
def test_importance_of_another_model_is_refused(tmp_path: Path, shapes: dict[str, torch.Size]) -> None:
    """Names and shapes must be the parent's."""
    path = tmp_path / "importance" / "importance.safetensors"
    save_importance(path, {"w": torch.tensor([0.5, 1.5])})
    with pytest.raises(BadRoundDirectory, match="another model"):
        load_importance(path, shapes)


def test_damaged_importance_is_refused(tmp_path: Path) -> None:
    """A file that is no safetensors says so."""
    (tmp_path / "i.safetensors").write_bytes(b"garbage!")
    with pytest.raises(BadRoundDirectory, match="cannot be read"):
        load_importance(tmp_path / "i.safetensors", {})


def test_importance_without_room_is_the_disks_error(tmp_path: Path) -> None:
    """With the operating system's number and the file's path."""
    path = tmp_path / "candidate" / "importance.safetensors"
    with pytest.raises(OSError, match="importance") as caught, files_limited(4096):
        save_importance(path, {"w": torch.ones(4096)})
    assert caught.value.errno == errno.EFBIG
