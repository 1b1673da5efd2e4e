"""Settings that are right each by itself and can never work together, or not on this machine's disk."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from daemon.settings.fields import Key, dot
from daemon.settings.hosts import EVERYWHERE
from daemon.settings.mistakes import Mistake
from daemon.settings.sources import Raw
from streams.addresses import why_no_host

if TYPE_CHECKING:
    from daemon.settings.tree import Settings

# Python's threads cannot wait for 300 years: beyond that a wait is an OverflowError.
LONGEST_SECONDS = 100 * 366 * 86_400
KINDS_OF_SLICES = 3
"""Anchor, newest and older ones, which share an evaluation evenly: see `memory.ledger.draw.shares`."""


def contradictions(settings: "Settings", raw: Raw) -> list[Mistake]:
    """Every one of them."""
    checks = (_ports, _hosts, _places, _volumes, _evaluation, _durations, _find_shared_files, _canary)
    return [mistake for look in checks for mistake in look(settings, raw)]


def _hosts(settings: "Settings", raw: Raw) -> Iterator[Mistake]:
    remedy = "Write a name or an address alone: no protocol, no port, no brackets."
    for table, host in (("serving", settings.serving.host), ("admin", settings.admin.host)):
        if host and (why := why_no_host(host)):
            yield Mistake(f"{table}.host", host, raw.place((table, "host")), f"{why[0].upper()}{why[1:]}.", remedy)


def _durations(settings: "Settings", raw: Raw) -> Iterator[Mistake]:
    for key, value in _floats(settings.model_dump()):
        if not value < LONGEST_SECONDS:
            problem = "It is longer than a century." if math.isfinite(value) else "It is no finite number."
            remedy = "Write a smaller one; what may be left out never comes then."
            yield Mistake(dot(key), str(value), raw.place(key), problem, remedy)


def _floats(table: Mapping[str, Any], prefix: Key = ()) -> Iterator[tuple[Key, float]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _floats(value, (*prefix, name))
        elif isinstance(value, float) and (not math.isfinite(value) or name.endswith(("_seconds", "_s"))):
            yield (*prefix, name), value


def _find_shared_files(settings: "Settings", raw: Raw) -> Iterator[Mistake]:
    security, registry = settings.streams.security, settings.streams.schema_registry
    certificates = {security.ca_file, security.certificate_file, security.private_key_file, registry.ca_file} - {None}
    for key, path in (
        (("streams", "security", "password_file"), security.password_file),
        (("streams", "security", "private_key_password_file"), security.private_key_password_file),
        (("streams", "schema_registry", "password_file"), registry.password_file),
        (("streams", "schema_registry", "token_file"), registry.token_file),
        (("serving", "api_key_file"), settings.serving.api_key_file),
        (("admin", "token_file"), settings.admin.token_file),
    ):
        if path in certificates:
            problem = "The same file is named for certificates or a private key, and holds no password, key or token."
            yield Mistake(dot(key), None, raw.place(key), problem, "Name the file that holds this secret alone.")


def _ports(settings: "Settings", raw: Raw) -> Iterator[Mistake]:
    serving, admin = settings.serving, settings.admin
    both = serving.host == admin.host or bool(EVERYWHERE & {serving.host, admin.host})
    # Port 0 is any free one, another for each of them.
    if serving.enabled and both and serving.port == admin.port != 0:
        problem = f"serving.port is {serving.port} too: only one of them could listen there."
        yield Mistake("admin.port", str(admin.port), raw.place(("admin", "port")), problem, "Give one another port.")


def _places(settings: "Settings", raw: Raw) -> Iterator[Mistake]:
    path = settings.state_dir
    if (file := _file_among(path)) is not None:
        problem = f"{file} is a file, where a directory is needed."
        yield Mistake(
            "state_dir", str(path), raw.place(("state_dir",)), problem, "Name a directory, or one to be made."
        )
    model = settings.model.path
    if model.exists() and not model.is_dir() and model.suffix.lower() != ".gguf" and not settings.base_dir.exists():
        yield Mistake(
            "model.path",
            str(model),
            raw.place(("model", "path")),
            "It is a file, and no .gguf.",
            "Name the directory with the model's config.json, or a .gguf file.",
        )


def _canary(settings: "Settings", raw: Raw) -> Iterator[Mistake]:
    if settings.serving.canary.enabled and settings.model.kind == "masked-lm":
        problem = "A masked language model answers no requests here, by which it could be watched."
        key = ("serving", "canary", "enabled")
        yield Mistake(dot(key), "true", raw.place(key), problem, "Set it to false.")


def _file_among(path: Path) -> Path | None:
    """The path itself or what it lies in, where that is there and no directory."""
    nearest = next((place for place in (path, *path.parents) if place.exists()), None)
    return None if nearest is None or nearest.is_dir() else nearest


def _volumes(settings: "Settings", raw: Raw) -> Iterator[Mistake]:
    needed, room = settings.triggers.minimum_fresh_samples, settings.memory.fresh_samples
    if needed > room:
        key = ("triggers", "minimum_fresh_samples")
        problem = f"{pauses_at('memory.fresh_samples', room)} no round would ever begin by itself."
        remedy = "Lower it, or raise memory.fresh_samples."
        yield Mistake("triggers.minimum_fresh_samples", str(needed), raw.place(key), problem, remedy)


def _evaluation(settings: "Settings", raw: Raw) -> Iterator[Mistake]:
    least, budget = KINDS_OF_SLICES * settings.gate.minimum_documents, settings.memory.evaluation_documents
    if budget < least:
        problem = (
            f"Anchor, newest text and older slices share it, and gate.minimum_documents = "
            f"{settings.gate.minimum_documents} asks for more: no round could be judged."
        )
        remedy = f"Set at least {least}, or lower gate.minimum_documents."
        key = ("memory", "evaluation_documents")
        yield Mistake("memory.evaluation_documents", str(budget), raw.place(key), problem, remedy)


def pauses_at(bound: str, room: int) -> str:
    """Why so much text is never fresh, as the begin of a sentence."""
    return f"Reading pauses at {bound} = {room:,}, so that"
