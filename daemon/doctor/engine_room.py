"""Whether an engine that is a program of its own fits into memory, as often as it is there at once."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from daemon.doctor.findings import Finding
from daemon.lifecycle.lock import holder_of
from daemon.settings.tree import Settings
from daemon.sizes.free_memory import free_bytes
from serving.processes.gpu_share import EACH_OF_TWO, OPTIONS, USUAL, gpus_of_engine, named_share, share_of
from serving.settings import ServingSettings

GIB: Final = 2**30
NAME: Final = "engine's memory"
LARGER: Final = "Take a smaller model or a larger machine."


def examine_room(settings: Settings, *, on_cpu: bool, environ: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Say what an engine takes and whether that is free, twice where two are there at once; nothing where nobody tells.

    Args:
        settings: of the service; the engine is vLLM or SGLang.
        on_cpu: whether it is one for CPUs.
        environ: of the serving process.
    """
    stored = sum(file.stat().st_size for file in settings.model.path.glob("*.safetensors"))
    if not stored:
        return
    if on_cpu:
        yield _in_main_memory(settings.serving, stored)
        return
    gpus = gpus_of_engine(settings.serving, environ)
    told = [(gpu.free, gpu.total) for gpu in gpus if gpu.free is not None and gpu.total is not None]
    if told and len(told) == len(gpus):
        free, total = min(told)
        answers_now = holder_of(settings.state_dir) is not None
        yield _on_a_gpu(settings.serving, Fit(free, total, math.ceil(stored / len(gpus)), answers_now=answers_now))


def _in_main_memory(serving: ServingSettings, stored: int) -> Finding:
    engines, free = _engines(serving), free_bytes()
    return Finding(
        NAME,
        ok=engines * stored < free,
        detail=f"{free / GIB:.1f} GiB free; weights of {stored / GIB:.1f} GiB are there {_times(engines)}, and beside "
        "them what answers under way take",
        remedy=f"Set {one_at_once(serving)}: the old engine then ends before the next one begins."
        if engines == 2
        else LARGER,
    )


@dataclass(frozen=True, slots=True)
class Fit:
    """What an engine finds on the GPU of its own that has least free.

    Attributes:
        free: bytes now.
        total: bytes of the GPU.
        weights: bytes of the model's weights that lie there.
        answers_now: whether one engine is there already, and what it takes is not free.
    """

    free: int
    total: int
    weights: int
    answers_now: bool = False

    def taken(self, engine: str, share: float, engines: int) -> list[int]:
        """What each engine takes that is still to start: vLLM a share of all, SGLang one of what it finds free."""
        taken: list[int] = []
        for _ in range(engines - self.answers_now):
            of = self.total if engine == "vllm" else self.free - sum(taken)
            taken.append(math.ceil(share * of))
        return taken

    def holds(self, engine: str, share: float, engines: int) -> bool:
        """Whether all start: each finds what it takes free, and its weights go into that."""
        taken = self.taken(engine, share, engines)
        return sum(taken) <= self.free and all(self.weights < each for each in taken)


def _on_a_gpu(serving: ServingSettings, fit: Fit) -> Finding:
    engine, engines, share = serving.engine, _engines(serving), share_of(serving)
    assert share is not None, "vLLM and SGLang are told one"
    taken = fit.taken(engine, share, engines)
    of = "of the GPU" if engine == "vllm" else "of what is free as it starts"
    each = ", then ".join(f"{bytes_ / GIB:.1f}" for bytes_ in dict.fromkeys(taken))
    left = min((bytes_ - fit.weights for bytes_ in taken), default=0)
    parts = f"weights {fit.weights / GIB:.1f}, {max(0, left) / GIB:.1f} for answers under way"
    running = "; one of them answers now" if fit.answers_now else ""
    return Finding(
        NAME,
        ok=fit.holds(engine, share, engines),
        detail=f"{fit.free / GIB:.1f} of {fit.total / GIB:.1f} GiB free; an engine takes {share:g} {of}"
        f"{f', {each} GiB ({parts})' if taken else ''}, {_times(engines)}{running}",
        remedy=_remedy(serving, fit, share, engines),
    )


def _remedy(serving: ServingSettings, fit: Fit, share: float, engines: int) -> str:
    """What to set where the engines do not fit; by the same reckoning that it will do."""
    engine = serving.engine
    if engines == 2 and (fitting := _fitting(serving, fit)) is not None:
        return f"{_takes(share)}: set {_with_share(serving, fitting)}, with which two fit."
    alone = named_share(serving) or USUAL[engine]
    if engines == 2 and fit.holds(engine, alone, 1):
        return (
            f"Two do not fit. Set {one_at_once(serving)}: the old engine then ends before the next one begins, each "
            f"takes {alone:g} of the GPU, and requests get 503 between them."
        )
    if engines == 1 and (fitting := _fitting(serving, fit)) is not None:
        return f"{_takes(share)}: set {_with_share(serving, fitting)}, or free the GPU of what else is there."
    return (
        "Not even one fits: free the GPU of what else is there, divide the model over several GPUs "
        '("--tensor-parallel-size" in `serving.engine_process.arguments`), or take a smaller model.'
    )


def _takes(share: float) -> str:
    return f"{share:g} for each is not there"


def _fitting(serving: ServingSettings, fit: Fit) -> float | None:
    """The largest share, in hundredths, with which the engines fit; None where there is none."""
    engines = _engines(serving)
    most = EACH_OF_TWO if engines == 2 else USUAL[serving.engine]
    shares = (hundredths / 100 for hundredths in range(round(100 * most), 0, -1))
    return next((share for share in shares if fit.holds(serving.engine, share, engines)), None)


def _with_share(serving: ServingSettings, share: float) -> str:
    """The line that names a share, beside the arguments that are set."""
    options = OPTIONS[serving.engine]
    kept, arguments = list[str](), list(serving.engine_process.arguments)
    while arguments:
        name, sign, value = arguments.pop(0).partition("=")
        if name.replace("_", "-") in options:
            # Its value, where that stands by itself.
            del arguments[: 0 if sign else 1]
        else:
            kept.append(f"{name}{sign}{value}")
    return f"`serving.engine_process.arguments = {json.dumps([*kept, options[0], str(share)])}`"


def one_at_once(serving: ServingSettings) -> str:
    """The lines with which an engine ends before the next one begins: to watch a generation takes two."""
    watched = " and `serving.canary.enabled = false`" if serving.canary.enabled else ""
    return f"`serving.engine_process.two_at_once = false`{watched}"


def _engines(serving: ServingSettings) -> int:
    return 2 if serving.engine_process.two_at_once else 1


def _times(engines: int) -> str:
    return "twice while a swap lasts" if engines == 2 else "once"
