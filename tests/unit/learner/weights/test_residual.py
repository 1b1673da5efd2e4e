"""How results are rounded to be stored, and what that cuts off, kept in a byte a weight."""

import copy
import errno
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor, nn

from learner.errors import BadRoundDirectory
from learner.weights import residual
from learner.weights.candidates import Line, store_into
from learner.weights.residual import (
    Residual,
    Residuals,
    add_residual,
    add_residuals,
    load_residuals,
    residual_of,
    round_into,
    save_residuals,
)
from tests.disks import files_limited
from tests.unit.learner import tiny

DTYPES = [torch.bfloat16, torch.float16]
# By its bits: every exponent is as likely as any other, subnormal numbers among them.
masters = st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=40)


def of_bits(bits: list[int]) -> Tensor:
    """Numbers of float32."""
    return torch.tensor(bits, dtype=torch.int64).to(torch.int32).view(torch.float32)


def ulp(stored: float, dtype: torch.dtype) -> float:
    """How far the next larger number is, in float64, from the definition of the format."""
    digits, least = {torch.bfloat16: (8, -126), torch.float16: (11, -14)}[dtype]
    exponent = max(math.frexp(stored)[1] - 1, least) if stored else least
    return math.ldexp(1.0, exponent - digits + 1)


def restored(stored: Tensor, kept: Residual) -> Tensor:
    """The masters of stored numbers."""
    master = stored.float()
    add_residual(master, kept)
    return master


def rounded(master: Tensor, dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Masters as they are stored."""
    stored = torch.empty(master.shape, dtype=dtype)
    round_into(stored, master, torch.Generator().manual_seed(seed))
    return stored


@given(bits=masters, dtype=st.sampled_from(DTYPES), seed=st.integers(0, 1000))
@example(bits=[0x3F800000, 0x3F808000, 0x3F807FFF, 0x3F7F8001, 0, 0x80000000], dtype=torch.bfloat16, seed=0)
@example(bits=[0x33800000, 0x33000001, 0x387FC000, 0x477FE000], dtype=torch.float16, seed=0)
def test_master_comes_back_to_half_a_unit(bits: list[int], dtype: torch.dtype, seed: int) -> None:
    """Within 2⁻⁸ of the stored number's last place; where nearly all of it was cut off within 2⁻⁷."""
    exact = of_bits(bits)
    stored = rounded(exact, dtype, seed)
    found = restored(stored, residual_of(stored, exact))
    for number, master, again in zip(stored.tolist(), exact.tolist(), found.tolist(), strict=True):
        if not math.isfinite(number):
            continue
        last_place = ulp(number, dtype)
        assert abs(master - number) < last_place
        nearly_all = abs(master - number) > last_place * (1 - 2**-8)
        assert abs(again - master) <= last_place * (2**-7 if nearly_all else 2**-8)


@given(bits=masters, dtype=st.sampled_from(DTYPES), seed=st.integers(0, 1000))
def test_what_has_no_more_digits_than_are_stored_is_stored_as_it_is(
    bits: list[int], dtype: torch.dtype, seed: int
) -> None:
    """A base, and what no round has moved: nothing is cut off it, whatever its thresholds."""
    exact = of_bits(bits).to(dtype).float()
    finite = exact.isfinite()
    stored = rounded(exact, dtype, seed)
    assert torch.equal(stored.float()[finite], exact[finite])
    assert not residual_of(stored, exact).units.any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_no_round_moves_does_not_flip(dtype: torch.dtype) -> None:
    """Masters that are stored and begun from again come to rest, as do what is stored of them."""
    exact = torch.randn(5000, generator=torch.Generator().manual_seed(1))
    stored = rounded(exact, dtype)
    master = restored(stored, residual_of(stored, exact))
    assert (rounded(master, dtype) != stored).float().mean() < 0.01
    for _ in range(3):
        stored = rounded(master, dtype)
        before, master = master, restored(stored, residual_of(stored, master))
        assert (before != master).float().mean() < 0.001
    assert torch.equal(rounded(master, dtype), stored)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9])
def test_as_many_go_up_as_the_mean_asks_for(dtype: torch.dtype, share: float) -> None:
    """A fiftieth of a last place moves a fiftieth of the weights, up or down, where the nearest is what was there."""
    begun = torch.full((20_000,), 1.5)
    begun[::2] = -1.5
    last_place = ulp(1.5, dtype)
    up = rounded(begun + share * last_place, dtype).float()
    assert ((up - begun) / last_place).mean().item() == pytest.approx(share, abs=0.015)
    down = rounded(begun - share * last_place, dtype).float()
    assert ((down - begun) / last_place).mean().item() == pytest.approx(-share, abs=0.015)


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_not_finite_stays_as_it_is_stored(dtype: torch.dtype) -> None:
    """Nothing is kept of it, and nothing is made of it."""
    exact = torch.tensor([math.inf, -math.inf, math.nan, 3.4e38, 1.5])
    stored = rounded(exact, dtype)
    kept = residual_of(stored, exact)
    assert torch.equal(stored[[0, 1, 2, 4]].nan_to_num(7.0), exact[[0, 1, 2, 4]].to(dtype).nan_to_num(7.0))
    assert kept.units[[0, 1, 2, 4]].tolist() == [0, 0, 0, 0]
    assert torch.equal(
        restored(stored, kept)[[0, 1, 2, 4]].nan_to_num(7.0), stored[[0, 1, 2, 4]].float().nan_to_num(7.0)
    )


def test_weights_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of which is rounded and kept as in the whole, whatever its shape."""
    exact = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    whole = exact.bfloat16()
    kept = residual_of(whole, exact)
    monkeypatch.setattr(residual, "CHUNK_WEIGHTS", 4)
    assert torch.equal(residual_of(whole, exact).units, kept.units)
    assert restored(whole, kept).shape == (7, 5)
    assert (rounded(exact, torch.bfloat16).float() - exact).abs().max() < 2**-6


def masters_of(stored: nn.Module, residuals: Residuals) -> dict[str, Tensor]:
    """A stored model's weights as they were before they were rounded."""
    master = copy.deepcopy(stored).float()
    add_residuals(master, residuals)
    return tiny.weights_of(master)


def moved(model: nn.Module, by: float) -> dict[str, Tensor]:
    """The weights of a model after a round that moved each by so much of itself."""
    return {
        name: value.float() * (1 + by) if value.is_floating_point() else value
        for name, value in tiny.weights_of(model).items()
    }


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounds_that_move_less_than_rounding_add_up(dtype: torch.dtype, tmp_path: Path) -> None:
    """Sixteen rounds of a thousandth of an ulp and more are not lost: each begins where the one before it ended."""
    stored: Any = tiny.llama(dtype=dtype)
    first = {name: value.double() for name, value in tiny.weights_of(stored).items()}
    step = 2**-11 if dtype is torch.bfloat16 else 2**-14
    for _ in range(16):
        kept = load_residuals(tmp_path / "importance" / "r.safetensors", stored)
        result = {name: value * (1 + step) for name, value in masters_of(stored, kept).items()}
        _, cut_off = store_into(stored, Line(stored, kept, result).point(0.0))
        save_residuals(tmp_path / "importance" / "r.safetensors", cut_off)
    for name, value in masters_of(stored, load_residuals(tmp_path / "importance" / "r.safetensors", stored)).items():
        torch.testing.assert_close(value.double(), first[name] * (1 + step) ** 16, rtol=step, atol=1e-8)


def test_each_parameter_has_one_residual_and_buffers_have_none() -> None:
    """Tied weights are one; what is no parameter is not trained."""
    model: Any = tiny.llama(dtype=torch.bfloat16, tied=True)
    model.register_buffer("counted", torch.ones(3, dtype=torch.bfloat16))
    _, kept = store_into(model, Line(model, {}, moved(model, 1e-3)).point(0.0))
    assert set(kept) == {name for name, _ in model.named_parameters()}
    assert len(kept) == len(tiny.weights_of(model)) - 1


def test_model_in_float32_needs_none() -> None:
    """Nothing is cut off it."""
    model = tiny.llama()
    assert store_into(model, Line(model, {}, moved(model, 1e-3)).point(0.25))[1] == {}


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_masters_of_a_model_are_what_was_interpolated(share: float) -> None:
    """On the model that is trained, too, whose weights are float32."""
    stored, trained = tiny.llama(seed=2, dtype=torch.bfloat16), tiny.weights_of(tiny.llama(seed=3))
    parent = {name: value.float() for name, value in tiny.weights_of(stored).items()}
    _, kept = store_into(stored, Line(stored, {}, trained).point(share))
    begun: Any = stored
    begun.float()
    add_residuals(begun, kept)
    for name, value in tiny.weights_of(begun).items():
        exact = torch.lerp(trained[name], parent[name], share)
        torch.testing.assert_close(value, exact, rtol=2**-14, atol=1e-30)


def kept_of(model: nn.Module) -> dict[str, Residual]:
    """A residual of zeros for each of a model's weights."""
    return {
        name: Residual(torch.zeros(weight.shape, dtype=torch.int8), torch.bfloat16)
        for name, weight in model.named_parameters()
    }


def test_residuals_survive_their_file(tmp_path: Path) -> None:
    """What is written is what is read; where nothing was written there is none."""
    path, model = tmp_path / "importance" / "residuals.safetensors", nn.Linear(2, 1)
    assert load_residuals(path, model) == {}
    save_residuals(path, {"weight": Residual(torch.tensor([[-127, 5]], dtype=torch.int8), torch.float16)})
    found = load_residuals(path, model)
    assert {name: (kept.units.tolist(), kept.dtype) for name, kept in found.items()} == {
        "weight": ([[-127, 5]], torch.float16)
    }


@pytest.mark.parametrize(
    "kept",
    [
        {"other": Residual(torch.zeros(1, 2, dtype=torch.int8), torch.bfloat16)},
        {"weight": Residual(torch.zeros(2, 2, dtype=torch.int8), torch.bfloat16)},
        {"weight": Residual(torch.zeros(1, 2), torch.bfloat16)},
        {"weight": Residual(torch.zeros(1, 2, dtype=torch.int8), torch.float32)},
    ],
)
def test_residuals_of_another_model_are_refused(tmp_path: Path, kept: dict[str, Residual]) -> None:
    """Names, shapes and number formats must fit the parent."""
    save_residuals(tmp_path / "i" / "r.safetensors", kept)
    with pytest.raises(BadRoundDirectory, match="another model"):
        load_residuals(tmp_path / "i" / "r.safetensors", nn.Linear(2, 1))


def test_damaged_residuals_are_refused(tmp_path: Path) -> None:
    """A file that is no safetensors says so."""
    (tmp_path / "r.safetensors").write_bytes(b"garbage!")
    with pytest.raises(BadRoundDirectory, match="cannot be read"):
        load_residuals(tmp_path / "r.safetensors", nn.Linear(2, 1))


def test_residuals_without_room_are_the_disks_error(tmp_path: Path) -> None:
    """With the operating system's number and the file's path."""
    path = tmp_path / "candidate" / "residuals.safetensors"
    with pytest.raises(OSError, match="residuals") as caught, files_limited(4096):
        save_residuals(path, kept_of(tiny.llama()))
    assert caught.value.errno == errno.EFBIG
