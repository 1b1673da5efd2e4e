"""How many GPUs there are, by what tells without torch."""

import os
import subprocess
from collections.abc import Mapping
from typing import Final

ASKED: Final = ("nvidia-smi", "--query-gpu=index", "--format=csv,noheader")


def visible_gpus(environ: Mapping[str, str] = os.environ) -> int | None:
    """Return how many GPUs a learner sees; None where nvidia-smi does not tell, which need not mean that none is here.

    Args:
        environ: may hide some of them, with `CUDA_VISIBLE_DEVICES`.
    """
    try:
        listed = subprocess.run(ASKED, capture_output=True, text=True, timeout=30, check=True).stdout.split()
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    shown = environ.get("CUDA_VISIBLE_DEVICES")
    return len(listed) if shown is None else min(len(listed), len([name for name in shown.split(",") if name.strip()]))


def count_shares(devices: int | str, device: str, *, sharded: bool) -> int:
    """Return over how many devices a round divides what training holds of the weights; 1 where it divides nothing.

    Args:
        devices: as in `learner.devices`.
        device: as in `learner.device`.
        sharded: as in `learner.sharded`.
    """
    if not sharded:
        return 1
    if isinstance(devices, int):
        return devices
    return 1 if device in ("cpu", "mps") else max(1, visible_gpus() or 1)


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
