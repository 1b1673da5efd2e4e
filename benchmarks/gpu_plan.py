"""The parts of `benchmarks.gpu`: which rounds and loops, in which order, what they came to and must come to."""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
import transformers
from rich.console import Console
from rich.table import Table

from benchmarks.gpu_loops import LoopFigures, LoopSpec, has_trl
from benchmarks.gpu_models import EIGHT_B, HALF_B, ONE_B, TINY, TINY_TIED
from benchmarks.gpu_rounds import RoundFigures, RoundTrial, run_round_of
from benchmarks.report import Bar, report
from learner.adapter_library import has_adapters
from learner.settings import RecipeSettings

GB: Final = 10**9
LEAST_UTILISATION: Final = 0.45
MOST_FOR_KL: Final = 1.35
DOCTOR_WITHIN: Final = 1.15
LORA_8B_BYTES: Final = 80 * GB
RATES: Final[Mapping[str, float]] = {
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H200": 989e12,
    "B200": 2250e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
}
"""Dense bf16 FLOP/s by a word in the GPU's name, as NVIDIA's data sheets state them; the first that fits counts."""
PRODUCT: Final[Mapping[str, int]] = {"cuda": 8192, "cpu": 512}
"""Rows and columns of the matrices whose product is timed."""
PRODUCTS: Final = 10

PLAIN_1B, KL_1B, LOOP_1B, LORA_8B = "1B, all weights", "1B, all weights, replay and KL", "1B, plain loop", "8B, LoRA"
COMPILED_1B: Final = "1B, all weights, compiled"
UTILISATION, TIMES_OF_KL = (
    f"{COMPILED_1B}: utilisation of FLOPs",
    "1B: a token with replay and KL / a plain one, in time",
)
GB_OF_8B, FARTHEST_OFF = f"{LORA_8B}: GB at the highest", "memory, foretold / measured, farthest off"
PARTS_OF_BARS: Final[Mapping[str, tuple[str, ...]]] = {
    UTILISATION: (COMPILED_1B,),
    TIMES_OF_KL: (PLAIN_1B, KL_1B),
    GB_OF_8B: (LORA_8B,),
}
"""The bars that must be reached, with the parts that each is measured in."""


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that is measured.

    Attributes:
        name: in tables.
        what: a round, or a loop.
        seconds: how long it may take on an H100, guessed: a part that would end too late is left out.
    """

    name: str
    what: RoundTrial | LoopSpec
    seconds: float


def full_plan() -> tuple[Part, ...]:
    """First what a bar is held to, which is to end within the seconds together; the largest model early."""
    packed: dict[str, Any] = {"sequence_length": 2048, "batch_sequences": 20, "micro_batch": 4}
    plain, kept = RecipeSettings(**packed, kl=0.0, replay_ratio=0.0), RecipeSettings(**packed, replay_ratio=0.6)
    lora = kept.model_copy(update={"adapter": "lora"})
    # Few rows a step: its memory is what is held to a bar, and that is a pass's.
    large = lora.model_copy(update={"micro_batch": 2, "batch_sequences": 4, "gradient_checkpointing": True})
    loop = LoopSpec("plain", ONE_B, 20, 4, 2048, 8, "cuda")
    return (
        Part(PLAIN_1B, RoundTrial(ONE_B, plain, 8), 30),
        Part(LORA_8B, RoundTrial(EIGHT_B, large, 3), 90),
        Part(COMPILED_1B, RoundTrial(ONE_B, plain, 8, compile=True), 50),
        Part(KL_1B, RoundTrial(ONE_B, kept, 8), 35),
        Part(LOOP_1B, loop, 20),
        Part("0.5B, all weights, replay and KL", RoundTrial(HALF_B, kept, 8), 30),
        Part("0.5B, LoRA, replay and KL", RoundTrial(HALF_B, lora, 8), 30),
        Part("1B, TRL's SFTTrainer", LoopSpec("trl", ONE_B, 20, 4, 2048, 8, "cuda"), 30),
    )


def tiny_plan() -> tuple[Part, ...]:
    """The same kinds of parts, in seconds on a CPU."""
    packed: dict[str, Any] = {"sequence_length": 64, "batch_sequences": 8, "micro_batch": 4}
    plain = RecipeSettings(**packed, kl=0.0, replay_ratio=0.0)
    lora = RecipeSettings(**packed, replay_ratio=0.6, adapter="lora", gradient_checkpointing=True)
    return (
        Part(PLAIN_1B, RoundTrial(TINY, plain, 3), 10),
        # Without the compiled one, which takes a CPU most of a minute.
        Part(LOOP_1B, LoopSpec("plain", TINY, 8, 4, 64, 3, "cpu"), 10),
        Part(LORA_8B, RoundTrial(TINY_TIED, lora, 3), 10),
    )


@dataclass(frozen=True, slots=True)
class Machine:
    """What it runs on.

    Attributes:
        device: `cuda` or `cpu`.
        name: of the GPU.
        product: FLOP/s of a large product of matrices.
        rate: FLOP/s that utilisation is of.
    """

    device: str
    name: str
    product: float
    rate: float

    @classmethod
    def here(cls, device: str) -> "Machine":
        """Look, and time a product."""
        name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
        product = _product_rate(device)
        return cls(device, name, product, next((rate for word, rate in RATES.items() if word in name), product))


def _product_rate(device: str) -> float:
    size, dtype = PRODUCT[device], torch.bfloat16 if device == "cuda" else torch.float32
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    for count in (3, PRODUCTS):  # the first ones choose their kernel
        began = time.perf_counter()
        for _ in range(count):
            product = left @ right
        # Waits for the device.
        product[0, 0].item()
        seconds = time.perf_counter() - began
    return PRODUCTS * 2 * size**3 / seconds


@dataclass(slots=True)
class Measured:
    """What the parts came to, by name, and what was not measured, in sentences."""

    rounds: dict[str, RoundFigures]
    loops: dict[str, LoopFigures]
    not_measured: list[str]


def run(*, tiny: bool, seconds: float, only: str | None, json_file: Path | None) -> int:
    """Run the plan, print and write what it came to; return the exit status."""
    began, device, console = time.monotonic(), "cpu" if tiny else "cuda", Console()
    plan = [part for part in (tiny_plan() if tiny else full_plan()) if only in (None, part.name)]
    if not plan:
        names = ", ".join(part.name for part in (tiny_plan() if tiny else full_plan()))
        raise SystemExit(f"--only {only}: there is no such part; there are: {names}")
    machine, measured = Machine.here(device), Measured({}, {}, [])
    with tempfile.TemporaryDirectory() as folder:
        for part in plan:
            elapsed = time.monotonic() - began
            if why := _why_not(part, seconds - elapsed):
                measured.not_measured.append(f"{part.name}: {why}")
                continue
            console.print(f"{elapsed:.0f} s: {part.name} …")
            _measure(part, Path(folder), device, measured)
    show(console, machine, measured)
    reached = list(bars(machine, measured, bounded=not tiny))
    # What a tiny model comes to is held to nothing.
    unmeasured = [] if tiny else unmeasured_bars([part.name for part in plan], [bar.name for bar in reached])
    details = {
        "machine": asdict(machine),
        "versions": {"torch": torch.__version__, "transformers": transformers.__version__},
        "rounds": {name: asdict(figures) for name, figures in measured.rounds.items()},
        "loops": {name: asdict(figures) for name, figures in measured.loops.items()},
        "not_measured": measured.not_measured,
        "bars_not_measured": unmeasured,
        "seconds": time.monotonic() - began,
        "tiny": tiny,
    }
    title = "tiny models on a CPU: the script works, nothing is said of a GPU" if tiny else f"on {machine.name}"
    status = report(title, reached, json_file, details)
    for name in unmeasured:
        console.print(f"[bold red]NOT MEASURED, and has to be reached:[/] {name}. Why stands above.")
    return max(status, 1 if unmeasured else 0)


def unmeasured_bars(planned: Sequence[str], measured: Collection[str]) -> list[str]:
    """Return the bars of which nothing was measured, though their parts were planned.

    Args:
        planned: names of the parts.
        measured: names of the bars.
    """
    asked = [name for name, parts in PARTS_OF_BARS.items() if set(parts) <= set(planned)]
    # Of whatever round.
    asked += [FARTHEST_OFF] if any(name in parts for parts in PARTS_OF_BARS.values() for name in planned) else []
    return [name for name in asked if name not in measured]


def _why_not(part: Part, seconds_left: float) -> str:
    """Why a part is left out; empty where it is not."""
    if isinstance(part.what, RoundTrial) and part.what.recipe.adapter and not has_adapters():
        return "peft is not installed"
    if isinstance(part.what, LoopSpec) and part.what.how == "trl" and not has_trl():
        return "TRL is not installed"
    if part.seconds > seconds_left:
        return f"it may take {part.seconds:.0f} s, and {max(0.0, seconds_left):.0f} s are left (--seconds, --only)"
    return ""


def _measure(part: Part, folder: Path, device: str, measured: Measured) -> None:
    """Run one part; one that fails is told of, and the others go on."""
    try:
        if isinstance(part.what, RoundTrial):
            measured.rounds[part.name] = figures = run_round_of(part.what, folder, device)
            if figures.not_compiled:
                measured.not_measured.append(f"{part.name}: {figures.not_compiled}")
        else:
            measured.loops[part.name] = _run_loop(part.what)
    except SystemExit as ended:
        measured.not_measured.append(f"{part.name}: {ended}")
    finally:
        # A model of 8 billion weights and its candidate take 32 GB.
        for path in folder.iterdir():
            shutil.rmtree(path)


def _run_loop(spec: LoopSpec) -> LoopFigures:
    command = [sys.executable, "-m", "benchmarks.gpu_loops", spec.encode()]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        last = ended.stderr.strip().splitlines()[-1:] or [f"exit status {ended.returncode}"]
        raise SystemExit(last[0])
    return LoopFigures(**json.loads(ended.stdout.splitlines()[-1]))


def show(console: Console, machine: Machine, measured: Measured) -> None:
    """Print what each part came to."""
    table = Table(title=f"{machine.name}: {machine.product / 1e12:,.1f} TFLOP/s in a product of matrices")
    for column in ("part", "tokens/s", "utilisation", "GB", "foretold", "seconds of each phase"):
        table.add_column(column, justify="left" if column in ("part", "seconds of each phase") else "right")
    for name, figures in measured.rounds.items():
        phases = ", ".join(f"{phase} {seconds:.1f}" for phase, seconds in figures.phase_seconds.items())
        table.add_row(
            name,
            f"{figures.tokens_per_second:,.0f}",
            f"{figures.flops_per_second / machine.rate:.1%}",
            f"{figures.train_peak_bytes / GB:.2f}",
            f"{figures.foretold_bytes / GB:.2f}",
            phases,
        )
    for name, loop in measured.loops.items():
        table.add_row(name, f"{loop.tokens_per_second:,.0f}", "", f"{loop.peak_bytes / GB:.2f}", "", "")
    console.print(table)
    for sentence in measured.not_measured:
        console.print(f"Not measured: {sentence}")


def bars(machine: Machine, measured: Measured, *, bounded: bool) -> Iterator[Bar]:
    """What must be reached, of what was measured.

    Args:
        machine: it ran on.
        measured: what the parts came to.
        bounded: whether the figures are held to anything.
    """

    def bar(name: str, value: float, **bounds: float) -> Bar:
        return Bar(name=name, value=value, **(bounds if bounded else {}))

    rounds, loops = measured.rounds, measured.loops
    if COMPILED_1B in rounds and not rounds[COMPILED_1B].not_compiled:
        utilisation = rounds[COMPILED_1B].flops_per_second / machine.rate
        yield bar(UTILISATION, utilisation, at_least=LEAST_UTILISATION)
    if PLAIN_1B in rounds:
        yield bar(f"{PLAIN_1B}: utilisation of FLOPs", rounds[PLAIN_1B].flops_per_second / machine.rate)
        if COMPILED_1B in rounds:
            faster = rounds[COMPILED_1B].tokens_per_second / rounds[PLAIN_1B].tokens_per_second
            yield bar(f"{COMPILED_1B}: tokens/s / the same as it is", faster)
        for name, loop in loops.items():
            yield bar(f"{PLAIN_1B}: tokens/s / {name}", rounds[PLAIN_1B].tokens_per_second / loop.tokens_per_second)
    if PLAIN_1B in rounds and KL_1B in rounds:
        times = rounds[PLAIN_1B].tokens_per_second / rounds[KL_1B].tokens_per_second
        yield bar(TIMES_OF_KL, times, at_most=MOST_FOR_KL)
    if LORA_8B in rounds:
        yield bar(GB_OF_8B, rounds[LORA_8B].peak_bytes / GB, at_most=LORA_8B_BYTES / GB)
    ratios = [figures.foretold_bytes / figures.train_peak_bytes for figures in rounds.values()]
    if ratios:
        farthest = max(max(ratio, 1 / ratio) for ratio in ratios)
        yield bar(FARTHEST_OFF, farthest, at_most=DOCTOR_WITHIN)
