"""Settings that are right each by itself and can never work together, or not on this machine's disk."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.settings_mistakes import Mistake
from daemon.settings_sources import Raw

if TYPE_CHECKING:
    from daemon.settings import Settings

EVERYWHERE = frozenset({"", "0.0.0.0", "::"})  # noqa: S104 - never listened on here


def contradictions(settings: "Settings", raw: Raw) -> list[Mistake]:
    """Every one of them."""
    return [*_ports(settings, raw), *_places(settings, raw), *_volumes(settings, raw)]


def _ports(settings: "Settings", raw: Raw) -> Iterator[Mistake]:
    serving, admin = settings.serving, settings.admin
    both = serving.host == admin.host or bool(EVERYWHERE & {serving.host, admin.host})
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
    if model.is_file() and model.suffix.lower() != ".gguf" and not settings.base_dir.exists():
        yield Mistake(
            "model.path",
            str(model),
            raw.place(("model", "path")),
            "It is a file, and no .gguf.",
            "Name the directory with the model's config.json, or a .gguf file.",
        )


def _file_among(path: Path) -> Path | None:
    """The path itself or what it lies in, where that is there and no directory."""
    there = next((place for place in (path, *path.parents) if place.exists()), None)
    return None if there is None or there.is_dir() else there


def _volumes(settings: "Settings", raw: Raw) -> Iterator[Mistake]:
    needed, room = settings.triggers.minimum_fresh_samples, settings.memory.fresh_samples
    if needed > room:
        key = ("triggers", "minimum_fresh_samples")
        problem = f"{pauses_at('memory.fresh_samples', room)} no round would ever begin by itself."
        remedy = "Lower it, or raise memory.fresh_samples."
        yield Mistake("triggers.minimum_fresh_samples", str(needed), raw.place(key), problem, remedy)


def pauses_at(bound: str, room: int) -> str:
    """Why so much text is never fresh, as the begin of a sentence."""
    return f"Reading pauses at {bound} = {room:,}, so that"
