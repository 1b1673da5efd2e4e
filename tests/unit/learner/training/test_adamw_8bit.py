"""AdamW with moments of a byte each: as torchao computes it; weights in bfloat16 are right in the mean."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from checkpoints.generation_store import Published
from learner.directory.report import read_report
from learner.directory.round_directory import RESIDUALS
from learner.job import run_round
from learner.settings import RecipeSettings
from learner.training import train
from learner.training.adamw_8bit import AdamW8bit
from learner.training.coded_moments import Moment, _fractions, _Nearest
from learner.training.optimizers import AdamW, Optimizer, optimizer_of
from tests.unit.learner import tiny

RECIPE: Final = RecipeSettings(optimizer="adamw-8bit", weight_decay=0.1)
TORCHAO: Final[Mapping[str, Any]] = {
    "at": [0, 1, 100, 255, 256, 1000, 2304, 3000, 4000, 4607],
    "weights": [
        *(-0.8128484, -0.8380428, -0.8278619, -0.7756855, -0.7554946),
        *(-0.5588453, -0.0003898, 0.3035688, 0.6409195, 0.8481427),
    ],
    "first": [48, 215, 90, 72, 30, 162, 54, 212, 199, 41],
    "second": [157, 181, 142, 152, 178, 129, 192, 183, 139, 156],
    "sums": (583_161, 687_789),
}
"""What `AdamW8bit` of torchao 0.18.0 (run without its compiler) makes of `steps_like_torchao`: some of the weights, the
codes of their moments, and the sums of all codes."""


def gradients(shape: torch.Size, steps: int) -> list[Tensor]:
    """Rows of very different sizes."""
    generator = torch.Generator().manual_seed(1)
    sizes = torch.logspace(-5, 0, shape[0])[:, None]
    return [torch.randn(shape, generator=generator) * sizes for _ in range(steps)]


def weight() -> nn.Parameter:
    """18 blocks."""
    return nn.Parameter(torch.linspace(-1, 1, 4608).sin().reshape(18, 256))


def take(optimizer: Optimizer, moved: nn.Parameter, listed: list[Tensor], rate: float = 1e-2) -> None:
    """A step for each gradient."""
    for gradient in listed:
        moved.grad = gradient.to(moved.dtype)
        optimizer.step(rate)
        assert moved.grad is None


def test_steps_are_those_of_torchao() -> None:
    """Codes to the last, weights to the last place or two of float32."""
    moved = weight()
    optimizer = AdamW8bit([moved], RECIPE)
    take(optimizer, moved, gradients(moved.shape, 5))
    held, at = optimizer.tensors(), TORCHAO["at"]
    first, second = held["0.first.codes"].long(), held["0.second.codes"].long()
    assert first[at].tolist() == TORCHAO["first"]
    assert second[at].tolist() == TORCHAO["second"]
    assert (int(first.sum()), int(second.sum())) == TORCHAO["sums"]
    assert moved.flatten()[at].tolist() == pytest.approx(TORCHAO["weights"], abs=1e-6)


def test_steps_are_near_those_of_float32_moments() -> None:
    """By a tenth of the way that they go."""
    moved, exact = weight(), weight()
    began = exact.detach().clone()
    listed = gradients(moved.shape, 20)
    take(AdamW8bit([moved], RECIPE), moved, listed)
    take(AdamW([exact], RECIPE), exact, listed)
    assert (moved - exact).norm() < 0.1 * (exact - began).norm()


@pytest.mark.parametrize("signed", [True, False])
def test_the_nearest_fraction_is_found(*, signed: bool) -> None:
    """Also of numbers next to a middle between two, of the smallest, of zero and one."""
    fractions = torch.tensor(_fractions(signed=signed))
    middles = (fractions[:-1] + fractions[1:]) / 2
    beside = [torch.nextafter(middles, torch.full_like(middles, side)) for side in (-2.0, 2.0)]
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(20_000, generator=generator)
    tried = torch.cat([drawn, 10 ** (-9 * drawn), fractions, middles, *beside, torch.tensor([0.0, 1.0])])
    tried = torch.cat([tried, -tried]) if signed else tried.clamp(min=0)
    assert torch.equal(_Nearest(fractions)(tried).long(), torch.bucketize(tried, middles, right=True))


def test_a_moment_takes_a_byte_of_each_number() -> None:
    """And a float of each block; what is left over, and small weights, are kept as they are."""
    moment = Moment(torch.zeros(100, 100), signed=True)
    sizes = {name: array.numel() * array.element_size() for name, array in moment.arrays().items()}
    assert sizes == {"codes": 9984, "largest": 4 * 39, "rest": 4 * 16}
    assert set(Moment(torch.zeros(64), signed=True).arrays()) == {"rest"}
    numbers = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    for part in moment.parts():
        moment.write(part, numbers[part])
    read = torch.cat([moment.read(part) for part in moment.parts()])
    assert (read - numbers).abs().max() < 0.01 * numbers.abs().max()


def test_steps_smaller_than_a_last_place_are_not_lost_in_bfloat16() -> None:
    """In the mean of many weights; rounded to the nearest not one would move."""
    torch.manual_seed(0)
    moved = nn.Parameter(torch.ones(256, 256, dtype=torch.bfloat16))
    recipe = RECIPE.model_copy(update={"weight_decay": 0.0})
    take(AdamW8bit([moved], recipe), moved, [torch.ones(256, 256)] * 10, rate=1e-5)
    assert moved.dtype == torch.bfloat16
    # Of each step 1e-5 of a last place of 2⁻⁸ below 1; half a last place is 0.002.
    assert float(1 - moved.detach().double().mean()) == pytest.approx(1e-4, rel=0.1)


def test_one_that_goes_on_makes_the_same_steps() -> None:
    """To the bit: from its tensors, with the random numbers where they were."""
    moved = nn.Parameter(weight().detach().bfloat16())
    optimizer = optimizer_of([moved], RECIPE)
    listed = gradients(moved.shape, 6)
    take(optimizer, moved, listed[:3])
    held = {name: tensor.clone() for name, tensor in optimizer.tensors().items()}
    again, state = nn.Parameter(moved.detach().clone()), torch.get_rng_state()
    take(optimizer, moved, listed[3:])
    other = optimizer_of([again], RECIPE)
    other.go_on(held)
    torch.set_rng_state(state)
    take(other, again, listed[3:])
    assert torch.equal(moved, again)
    assert all(torch.equal(tensor, other.tensors()[name]) for name, tensor in optimizer.tensors().items())


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """A tiny Llama in bfloat16 as generation 0."""
    return tiny.generation(
        tmp_path_factory.mktemp("base"), tiny.llama(dtype=torch.bfloat16), tiny.tokenizer(), "causal-lm"
    )


@pytest.mark.slow
@pytest.mark.usefixtures("torch_settings_kept")
def test_a_round_trains_what_is_stored(base: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights, gradients and parent in bfloat16; the result is what is stored, and learned about as much as AdamW's."""
    seen: list[tuple[torch.dtype, ...]] = []
    step = train.Trainer.step

    def look(self: Any, *args: Any) -> Any:
        parent = self.compiling.pass_.parent.model
        seen.append((*{each.dtype for model in (self.model, parent) for each in model.parameters()},))
        return step(self, *args)

    monkeypatch.setattr(train.Trainer, "step", look)
    gains = {}
    for name in ("adamw", "adamw-8bit"):
        recipe = tiny.SMALL.model_copy(update={"optimizer": name, "interpolation": (0.0, 0.5)})
        path = tiny.causal_round(tmp_path / name, base, recipe=recipe)
        report = run_round(path)
        new = report.slices["1"]
        gains[name] = sum(score.nll for score in new.parent) - sum(score.nll for score in new.candidates["0.00"])
        assert read_report(path).scored == tiny.SCORED, "scores are taken in float32 as ever"
    assert set(seen) == {(torch.float32,), (torch.bfloat16,)}
    assert gains["adamw-8bit"] == pytest.approx(gains["adamw"], rel=0.1)
    candidate = tmp_path / "adamw-8bit" / "candidates" / "0.00"
    assert all(not cut_off.any() for cut_off in load_file(candidate / RESIDUALS).values()), "nothing was cut off"
    assert all(stored.dtype == torch.bfloat16 for stored in load_file(candidate / "model.safetensors").values())


@pytest.mark.slow
@pytest.mark.usefixtures("torch_settings_kept")
def test_a_round_of_a_model_in_float32_keeps_its_weights_so(tmp_path: Path) -> None:
    """Only its moments are short."""
    base = tiny.generation(tmp_path, tiny.llama(), tiny.tokenizer(), "causal-lm")
    recipe = tiny.SMALL.model_copy(update={"optimizer": "adamw-8bit", "interpolation": (0.0,)})
    path = tiny.causal_round(tmp_path / "round", base, recipe=recipe, fresh=20)
    run_round(path)
    stored = load_file(path / "candidates" / "0.00" / "model.safetensors")
    assert all(weights.dtype == torch.float32 for weights in stored.values())
    assert not (path / "candidates" / "0.00" / RESIDUALS).exists()
