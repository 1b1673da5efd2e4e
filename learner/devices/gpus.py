"""Which GPUs a process sees and how much memory is free on each, by what tells without torch: nvidia-smi."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import util
from itertools import takewhile
from pathlib import Path
from typing import Final, Protocol
from xml.etree import ElementTree as ET

MIB: Final = 2**20
FIELDS: Final = ("index", "uuid", "name", "memory.free", "memory.total")
NATIVE_BFLOAT16: Final = 8.0
"""The compute capability from which a GPU computes in bfloat16 by itself, as torch asks too."""
INSTANCE: Final = re.compile(r"^\s+MIG .*Device\s+(\d+):\s+\(UUID:\s*([^)\s]+)\)")
WHOLE: Final = re.compile(r"^GPU\s+(\d+):")


class RunsOn(Protocol):
    """On what a round runs: the learner's settings, or the round itself."""

    @property
    def device(self) -> str:
        """As in `learner.device`."""

    @property
    def devices(self) -> int | str:
        """As in `learner.devices`."""

    @property
    def sharded(self) -> bool:
        """As in `learner.sharded`."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU, or an instance of one that is divided (MIG).

    Attributes:
        uuid: as nvidia-smi names it.
        free, total: bytes; None where nvidia-smi does not tell.
        native_bfloat16: whether it computes in bfloat16 by itself; True where nvidia-smi does not tell.
    """

    uuid: str
    free: int | None
    total: int | None
    native_bfloat16: bool = True


def gpus_seen(environ: Mapping[str, str] = os.environ) -> tuple[Gpu, ...] | None:
    """Return the GPUs that a process of this installation sees, in CUDA's order.

    Args:
        environ: may hide some of them, with `CUDA_VISIBLE_DEVICES`, which names them by number or UUID.

    Returns:
        none where torch was built for CPUs alone; None where nvidia-smi does not tell, which need not mean that there
        is none.
    """
    return gpus_shown(environ) if torch_computes_on_gpus() else ()


def gpus_shown(environ: Mapping[str, str]) -> tuple[Gpu, ...] | None:
    """Return those that CUDA shows a process, whatever that is built for; else as from `gpus_seen`."""
    there = _ask()
    if there is None:
        return None
    # The fastest first where they differ; which one that is nvidia-smi does not tell: it has the most memory.
    if environ.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID" and len({one.name for one in there}) > 1:
        there.sort(key=lambda one: -(one.gpu.total or 0))
    return tuple(_shown(there, environ.get("CUDA_VISIBLE_DEVICES")))


def visible_gpus(environ: Mapping[str, str] = os.environ) -> int | None:
    """Return how many GPUs a learner sees; None where nvidia-smi does not tell, which need not mean that none is here.

    Args:
        environ: may hide some of them, with `CUDA_VISIBLE_DEVICES`.
    """
    seen = gpus_seen(environ)
    return None if seen is None else len(seen)


def gpus_of(runs_on: RunsOn, environ: Mapping[str, str] = os.environ) -> tuple[Gpu, ...]:
    """Return the GPUs that a round runs on; none where it runs on the CPU, or nobody can tell.

    Args:
        runs_on: the settings that say so.
        environ: may hide some of them.
    """
    if runs_on.device in ("cpu", "mps"):
        return ()
    seen = gpus_seen(environ) or ()
    if ":" in runs_on.device:
        number = int(runs_on.device.partition(":")[2])
        return seen[number : number + 1]
    return seen if isinstance(runs_on.devices, str) else seen[: runs_on.devices]


def torch_computes_on_gpus() -> bool:
    """Whether the torch that is installed was built for GPUs; True where nobody can tell. It is not imported."""
    found = util.find_spec("torch")
    if found is None or found.origin is None:
        return True
    try:
        text = (Path(found.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return True
    built_for = dict(re.findall(r"^(cuda|hip)\b.*=\s*(\S+)\s*$", text, flags=re.MULTILINE))
    return not built_for or any(version != "None" for version in built_for.values())


@dataclass(frozen=True, slots=True)
class _Listed:
    """A GPU as it is listed, with its instances."""

    index: int
    name: str
    gpu: Gpu
    instances: tuple[Gpu, ...] = ()


def _ask() -> list[_Listed] | None:
    """Every GPU of the machine, by number."""
    # Drivers before 2021 know no capability, and refuse the whole question for it.
    lines = _query((*FIELDS, "compute_cap")) or _query(FIELDS)
    if lines is None:
        return None
    listed = [_read(line.split(", ")) for line in lines]
    names = _instance_names()
    if not names:
        return listed
    memory = _instance_memory()
    return [replace(one, instances=_instances(one, names.get(one.index, ()), memory)) for one in listed]


def _read(values: Sequence[str]) -> _Listed:
    number, uuid, name, free, total = (*values[:5], *[""] * (5 - len(values)))
    native = len(values) < 6 or not _is_number(values[5]) or float(values[5]) >= NATIVE_BFLOAT16
    gpu = Gpu(uuid.strip(), _bytes(free), _bytes(total), native)
    return _Listed(int(number), name, gpu)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\d+(\.\d+)?", text.strip()) is not None


def _bytes(text: str) -> int | None:
    """Of a number of MiB, whose unit may stand behind it; None of what is none, such as [N/A]."""
    number = text.strip().removesuffix("MiB").strip()
    return int(number) * MIB if number.isdecimal() else None


def _query(fields: Sequence[str]) -> list[str] | None:
    told = _run(f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits")
    lines = [] if told is None else [line.strip() for line in told.splitlines() if line.strip()]
    # "No devices were found" comes with a status of its own.
    return lines if told is not None and all(line.split(", ")[0].isdecimal() for line in lines) else None


def _instance_names() -> dict[int, list[tuple[int, str]]]:
    """The number and the UUID of each instance, by the number of its GPU."""
    found: dict[int, list[tuple[int, str]]] = {}
    here = 0
    for line in (_run("-L") or "").splitlines():
        if (whole := WHOLE.match(line)) is not None:
            here = int(whole[1])
        elif (instance := INSTANCE.match(line)) is not None:
            found.setdefault(here, []).append((int(instance[1]), instance[2]))
    return found


def _instance_memory() -> dict[tuple[int, int], tuple[int | None, int | None]]:
    """What is free and what there is of each instance, by the numbers of GPU and instance."""
    try:
        root = ET.fromstring(_run("-q", "-x") or "<none/>")  # noqa: S314 - a tool of the machine's own wrote it
    except ET.ParseError:
        return {}
    found = {}
    for number, gpu in enumerate(root.iter("gpu")):
        for instance in gpu.iter("mig_device"):
            memory = instance.find("fb_memory_usage")
            told = [_bytes("" if memory is None else memory.findtext(name) or "") for name in ("free", "total")]
            found[number, int(instance.findtext("index") or 0)] = (told[0], told[1])
    return found


def _instances(
    whole: _Listed, names: Sequence[tuple[int, str]], memory: Mapping[tuple[int, int], tuple[int | None, int | None]]
) -> tuple[Gpu, ...]:
    return tuple(
        Gpu(uuid, *memory.get((whole.index, number), (None, None)), whole.gpu.native_bfloat16) for number, uuid in names
    )


def _run(*arguments: str) -> str | None:
    try:
        return subprocess.run(["nvidia-smi", *arguments], capture_output=True, text=True, timeout=30, check=True).stdout
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _shown(there: Sequence[_Listed], wanted: str | None) -> list[Gpu]:
    """Those that CUDA shows of all, in an order of its own."""
    if wanted is None:
        divided = [one.instances[0] for one in there if one.instances]
        # Where one is divided CUDA shows a single instance, and no whole one.
        return divided[:1] or [one.gpu for one in there]
    names = [name.strip() for name in wanted.split(",")]
    found = [_named(name, there) for name in names]
    shown = [gpu for gpu in takewhile(lambda gpu: gpu is not None, found) if gpu is not None]
    # CUDA shows none where one is named twice.
    return shown if len({gpu.uuid or id(gpu) for gpu in shown}) == len(shown) else []


def _named(name: str, there: Sequence[_Listed]) -> Gpu | None:
    """What a word of `CUDA_VISIBLE_DEVICES` names: a number, or the beginning of a UUID; None where that is nothing."""
    if name.isdecimal():
        if int(name) >= len(there):
            return None
        chosen = there[int(name)]
        return chosen.instances[0] if chosen.instances else chosen.gpu
    everything = [gpu for one in there for gpu in (one.gpu, *one.instances)]
    fitting = [gpu for gpu in everything if name and gpu.uuid.startswith(name)]
    return fitting[0] if len(fitting) == 1 else None


def count_shares(runs_on: RunsOn) -> int:
    """Return over how many devices a round divides what training holds of the weights; 1 where it divides nothing."""
    if not runs_on.sharded:
        return 1
    if isinstance(runs_on.devices, int):
        return runs_on.devices
    return 1 if runs_on.device in ("cpu", "mps") else max(1, visible_gpus() or 1)


def describe_devices(devices: int | str, device: str, *, sharded: bool) -> str:
    """Say, in the end of a sentence, on what a round runs by these settings; empty where that is a single device.

    Args:
        devices: as in `learner.devices`.
        device: as in `learner.device`.
        sharded: as in `learner.sharded`.
    """
    if devices == 1 or (devices == "all" and device in ("cpu", "mps")):
        return ""
    held = "a share of the model while it trains" if sharded else "the whole model"
    share = f"each holds {held} and passes its share of the text"
    if devices == "all":
        return f"on all GPUs that are there, by a process for each: {share}"
    where = {"cpu": "sharing the CPU", "cuda": "each on a GPU of its own"}
    usual = "each on a GPU of its own, or sharing the CPU where there is none"
    return f"by {devices:,} processes, {where.get(device, usual)}: {share}"
