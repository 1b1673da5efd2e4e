"""Which share of a GPU an engine that is a program of its own takes for itself, weights and cached answers together.

vLLM and SGLang take most of a GPU as they start, and end where that is not free. While a swap lasts there are two of
them, so each is told to take less than half, unless the settings' own arguments say what it is to take.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from learner.devices.gpus import Gpu, gpus_shown
from serving.settings import ServingSettings

OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "vllm": ("--gpu-memory-utilization", "--device-memory-utilization"),
    "sglang": ("--mem-fraction-static",),
}
"""By engine, the arguments that say it; the first is the one to use."""
PARALLEL: Final = ("--tensor-parallel-size", "-tp", "--tp-size", "--tp")
USUAL: Final[Mapping[str, float]] = {"vllm": 0.92, "sglang": 0.88}
"""What each takes where nothing is said: of vLLM 0.32 its default; SGLang's, which it computes, is near this."""
EACH_OF_TWO: Final = 0.45
"""Two, and what the drivers and the kernels of both need beside it."""


def share_of(settings: ServingSettings) -> float | None:
    """Return which share of a GPU each engine takes: of vLLM of all its memory, of SGLang of what is free as it starts.

    None of engines that are told nothing of it.
    """
    if settings.engine not in OPTIONS:
        return None
    if (named := named_share(settings)) is not None:
        return named
    return EACH_OF_TWO if settings.engine_process.two_at_once else USUAL[settings.engine]


def named_share(settings: ServingSettings) -> float | None:
    """Return the share that the settings' own arguments name; None where they name none."""
    told = _told(settings.engine_process.arguments, OPTIONS.get(settings.engine, ()))
    try:
        return None if told is None else float(told)
    except ValueError:
        # The engine refuses it with its own words.
        return None


def arguments_for_share(settings: ServingSettings, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return what an engine is to be told so that two fit; nothing on a CPU, or where the settings say it.

    Args:
        settings: of the service.
        environ: of the engine.
    """
    if not settings.engine_process.two_at_once:
        return ()
    options = OPTIONS[settings.engine]
    if _told(settings.engine_process.arguments, options) is not None or not gpus_shown(environ):
        return ()
    return options[0], str(EACH_OF_TWO)


def gpus_of_engine(settings: ServingSettings, environ: Mapping[str, str]) -> tuple[Gpu, ...]:
    """Return the GPUs on which an engine's process would be; none where it runs on the CPU, or nobody can tell.

    Args:
        settings: of the service.
        environ: of the serving process.
    """
    own = dict(variable.split("=", 1) for variable in settings.engine_process.environment)
    parallel = _told(settings.engine_process.arguments, PARALLEL) or "1"
    shown = gpus_shown({**environ, **own}) or ()
    return shown[: int(parallel)] if parallel.isdecimal() else shown


def _told(arguments: Sequence[str], options: Sequence[str]) -> str | None:
    """The value of an option, the last where it is named twice, as `--option value` or `--option=value`."""
    told = None
    for argument, following in zip(arguments, (*arguments, "")[1:], strict=True):
        name, sign, value = argument.partition("=")
        # vLLM takes underscores for dashes.
        if name.replace("_", "-") in options:
            told = value if sign else following
    return told
