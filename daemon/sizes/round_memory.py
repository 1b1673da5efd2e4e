"""What memory a round has where the settings let it run: one answer for the daemon, the doctor and `init`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from daemon.sizes.estimate import serving_bytes
from daemon.sizes.free_memory import free_bytes
from daemon.sizes.shape import ModelShape
from learner.devices.gpus import Gpu, RunsOn, gpus_of, gpus_seen
from learner.settings import Precision
from serving.processes.gpu_share import gpus_of_engine, share_of
from serving.settings import ServingSettings


@dataclass(frozen=True, slots=True)
class RoundMemory:
    """What memory the processes of a round have.

    Attributes:
        gpus: that they compute on, each on one; none: on the CPU.
        free: bytes now, on the GPU that has least, or of main memory; None where nobody can tell.
        ranks: processes that share it: a GPU is one process's alone.
    """

    gpus: tuple[Gpu, ...]
    free: int | None
    ranks: int = 1

    @property
    def device_type(self) -> str:
        """`cpu` or `cuda`."""
        return "cuda" if self.gpus else "cpu"

    @property
    def native_bfloat16(self) -> bool:
        """Whether a precision that is left open is bfloat16."""
        return bool(self.gpus) and self.gpus[0].native_bfloat16


def memory_of_round(runs_on: RunsOn, environ: Mapping[str, str] = os.environ) -> RoundMemory:
    """Look where a round would run now, and what is free there.

    Args:
        runs_on: the learner's settings, or the round.
        environ: the learner's environment, which may hide GPUs.
    """
    if gpus := gpus_of(runs_on, environ):
        free = [gpu.free for gpu in gpus]
        return RoundMemory(gpus, None if None in free else min(bytes_ for bytes_ in free if bytes_ is not None))
    return RoundMemory((), free_bytes(), runs_on.devices if isinstance(runs_on.devices, int) else 1)


def bytes_computed_in(precision: Precision, *, native_bfloat16: bool) -> int:
    """Of a number in the forward pass, as `learner.devices.device` chooses it.

    Args:
        precision: as in the recipe.
        native_bfloat16: whether it is a GPU that computes in bfloat16 by itself.
    """
    if precision == "auto":
        return 2 if native_bfloat16 else 4
    return 2 if precision == "bfloat16" else 4


def taken_by_serving(
    serving: ServingSettings,
    memory: RoundMemory,
    shape: ModelShape,
    environ: Mapping[str, str] = os.environ,
    *,
    answers_now: bool = False,
) -> int:
    """What answering and a swap will take of the memory that is free to a round; 0 where they run elsewhere.

    Args:
        serving: the settings of the service.
        memory: of the round.
        shape: of the model.
        environ: the serving process's environment.
        answers_now: whether one generation answers already, and what it takes is not free.
    """
    if not serving.enabled or serving.engine == "remote":
        return 0
    gpus = _gpus_of_serving(serving, environ)
    if not memory.gpus:
        # On a GPU it still is a process here.
        return serving_bytes(shape) - (2 * shape.stored_bytes if gpus else 0)
    shared = {gpu.uuid for gpu in gpus} & {gpu.uuid for gpu in memory.gpus}
    if not shared:
        return 0
    if (share := share_of(serving)) is None:
        return shape.stored_bytes if answers_now else serving_bytes(shape)
    engines = (2 if serving.engine_process.two_at_once else 1) - answers_now
    return max(round(engines * share * (gpu.total or 0)) for gpu in memory.gpus if gpu.uuid in shared)


def left_to_round(serving: ServingSettings, memory: RoundMemory, shape: ModelShape) -> int | None:
    """Bytes for each process of a round beside what answering will take; None where nobody can tell."""
    if memory.free is None:
        return None
    return (memory.free - taken_by_serving(serving, memory, shape)) // memory.ranks


def _gpus_of_serving(serving: ServingSettings, environ: Mapping[str, str]) -> tuple[Gpu, ...]:
    if serving.engine != "builtin":
        return gpus_of_engine(serving, environ)
    name, _, number = serving.device.partition(":")
    if name not in ("auto", "cuda"):
        return ()
    first = int(number) if number.isdecimal() else 0
    return (gpus_seen(environ) or ())[first : first + 1]
