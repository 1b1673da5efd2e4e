"""How an engine is started for one generation: its command line and its environment."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from serving.processes.gpu_share import arguments_for_share
from serving.settings import PROBES_KEY_VARIABLE, PROBES_VARIABLE, ServingSettings

KEY_VARIABLE: Final = "RIVERKEEP_ENGINE_KEY"
"""Where a command of the user's finds the key that its engine is to ask for: a command line shows it to everybody."""
HOST: Final = "127.0.0.1"
SETTINGS_PREFIX: Final = "RIVERKEEP_"
FOR_THIS_PROCESS: Final = frozenset({PROBES_VARIABLE, PROBES_KEY_VARIABLE, "NOTIFY_SOCKET", "WATCHDOG_USEC"})
"""An engine has no business with who asks how this process is, and does not speak for it to systemd."""


@dataclass(frozen=True, slots=True)
class WantedEngine:
    """An engine that is to be started.

    Attributes:
        model: directory of the generation, as a whole model.
        name: which the engine is to know it by: never used for another generation.
        port: on loopback.
        key: that it is to ask for.
        adapter_rank: the largest rank of adapters that are to be put into it while it runs; None: none are.
        file: which may be written for it, for its own eyes.
    """

    model: Path
    name: str
    port: int
    key: str
    adapter_rank: int | None = None
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class EngineLaunch:
    """A program to be started: its arguments, its whole environment, and what a file of its own is to hold."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    content: str = ""


def served_name(model_name: str, generation: int) -> str:
    """The name that an engine knows a generation by."""
    return f"{model_name}@g{generation:04d}"


def launch_of(settings: ServingSettings, wanted: WantedEngine, environ: Mapping[str, str] = os.environ) -> EngineLaunch:
    """The program that answers from a generation.

    Args:
        settings: which engine, and how it is set.
        wanted: what it is to answer from, and where.
        environ: the environment of this process, which it inherits without this service's settings.
    """
    return _LAUNCHES[settings.engine](settings, wanted, _passed_on(environ))


def _passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that are no secrets of this service: its settings hold passwords of brokers and of the store."""
    return {
        name: value
        for name, value in environ.items()
        if not name.upper().startswith(SETTINGS_PREFIX) and name not in FOR_THIS_PROCESS
    }


def _vllm(settings: ServingSettings, wanted: WantedEngine, environ: Mapping[str, str]) -> EngineLaunch:
    arguments = (
        *(_python(settings), "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(wanted.model), "--served-model-name", wanted.name),
        *("--host", HOST, "--port", str(wanted.port), "--max-num-seqs", str(settings.max_batch)),
        *("--disable-fastapi-docs", "--disable-uvicorn-access-log"),
        # What a request leaves out was decided at the door: the model's own defaults are in what is asked.
        *("--generation-config", "vllm"),
        *_for_adapters(wanted.adapter_rank),
        *arguments_for_share(settings, {**environ, **_set(settings)}),
        *settings.engine_process.arguments,
    )
    own = {
        # Not as an argument, which everybody on the machine could read.
        "VLLM_API_KEY": wanted.key,
        # Its routes that change weights or pause answers are outside its key.
        "VLLM_SERVER_DEV_MODE": "0",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "0" if wanted.adapter_rank is None else "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        # What it needs is in the directory; without this it asks a hub for more.
        "HF_HUB_OFFLINE": "1",
    }
    return EngineLaunch(arguments, {**environ, **_set(settings), **own})


def _sglang(settings: ServingSettings, wanted: WantedEngine, environ: Mapping[str, str]) -> EngineLaunch:
    # In a file, as it takes its key by no variable, and everybody on the machine could read its arguments.
    told = {
        "model-path": str(wanted.model),
        "served-model-name": wanted.name,
        "host": HOST,
        "port": wanted.port,
        "api-key": wanted.key,
        "max-running-requests": settings.max_batch,
        "enable-metrics": True,
        # As for vLLM above.
        "sampling-defaults": "openai",
    }
    arguments = (
        *(_python(settings), "-m", "sglang.launch_server", "--config", str(wanted.file)),
        *arguments_for_share(settings, {**environ, **_set(settings)}),
        *settings.engine_process.arguments,
    )
    own = {"HF_HUB_OFFLINE": "1"}
    # JSON is YAML too.
    return EngineLaunch(arguments, {**environ, **_set(settings), **own}, json.dumps(told, indent=1))


def _for_adapters(rank: int | None) -> tuple[str, ...]:
    if rank is None:
        return ()
    # As many as a swap has at once, and a few that answers under way still hold.
    return ("--enable-lora", "--max-lora-rank", str(rank), "--max-loras", "2", "--max-cpu-loras", "4")


def _command(settings: ServingSettings, wanted: WantedEngine, environ: Mapping[str, str]) -> EngineLaunch:
    places = {"model": str(wanted.model), "name": wanted.name, "host": HOST, "port": str(wanted.port)}
    arguments = tuple(_filled(argument, places) for argument in settings.engine_process.command)
    return EngineLaunch(arguments, {**environ, **_set(settings), KEY_VARIABLE: wanted.key})


def _filled(argument: str, places: Mapping[str, str]) -> str:
    # Not str.format: an argument may hold JSON, whose braces are its own.
    for place, value in places.items():
        argument = argument.replace(f"{{{place}}}", value)
    return argument


def _set(settings: ServingSettings) -> dict[str, str]:
    """The variables that the settings name."""
    parted = (variable.partition("=") for variable in settings.engine_process.environment)
    return {name: value for name, _, value in parted}


def _python(settings: ServingSettings) -> str:
    python = settings.engine_process.python
    return sys.executable if python is None else str(python)


_LAUNCHES: Final[Mapping[str, Callable[[ServingSettings, WantedEngine, Mapping[str, str]], EngineLaunch]]] = {
    "vllm": _vllm,
    "sglang": _sglang,
    "command": _command,
}
