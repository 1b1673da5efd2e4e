"""What an installation holds for whoever runs it: the files of `deploy/`, found, named and written elsewhere."""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

import click

from daemon.errors import DaemonError, Refused

PLACE: Final = Path(__file__).parents[2] / "deploy"
"""Beside the rooms: in a checkout, in what was installed of a wheel, in the image."""
WHAT: Final = {
    "riverkeep.service": "the unit for systemd; its head has the commands that install it",
    "riverkeep.sysusers.conf": "the user that the unit runs as",
    "kubernetes": "the base for Kustomize: `kubectl apply -k`",
    "kubernetes-replicas": "a component for it: more pods that answer",
    "kubernetes-autoscaling": "a component for it: as many of those as requests want",
    "kubernetes-jobs": "a component for it: rounds as Jobs, which take a GPU while they run",
    "helm/riverkeep": "the Helm chart: `helm install riverkeep`",
    "prometheus.yml": "a configuration of Prometheus; it loads the next two from beside it",
    "alerts.yaml": "alerts, each with a page of what to do",
    "recording.yaml": "recorded series",
    "prometheus-adapter.yaml": "how an autoscaler gets one of them: the wait in the queue",
    "prometheus-kubernetes.yml": "how Prometheus finds the pods, where no operator does",
    "grafana": "dashboards, and the files by which Grafana finds them",
    "Containerfile": "the image; it is built in a checkout",
    "compose": "all of it on one machine, for a first look; it builds the image, in a checkout",
}
"""What there is, by its path in `deploy/`."""


def files(names: Iterable[str | PurePosixPath] = tuple(WHAT)) -> list[PurePosixPath]:
    """The files under these names, by their paths in `deploy/`. Raises DaemonError where this installation has none."""
    found: list[PurePosixPath] = []
    for name in names:
        place = PLACE / name
        inside = sorted(place.rglob("*")) if place.is_dir() else [place]
        # Whoever installs compiles what is Python among them.
        kept = [path for path in inside if path.is_file() and "__pycache__" not in path.parts]
        if not kept:
            raise DaemonError(f"{place} is not there: this installation is not whole. Install Riverkeep again.")
        found += [PurePosixPath(path.relative_to(PLACE).as_posix()) for path in kept]
    return found


def find(name: str) -> PurePosixPath:
    """The path in `deploy/` of a file, or of a folder, that a person names.

    Args:
        name: that path, with or without `deploy/` before it, as the documentation has it.

    Raises:
        click.UsageError: there is none such.
    """
    every = files()
    known = {*every, *(folder for path in every for folder in path.parents)} - {PurePosixPath()}
    wanted = PurePosixPath(name.removeprefix("./").removeprefix("deploy/"))
    if wanted not in known:
        near = difflib.get_close_matches(str(wanted), sorted(map(str, known)), n=1)
        meant = f" Did you mean {near[0]}?" if near else ""
        raise click.UsageError(f"There is no {name}.{meant} `riverkeep deploy print` lists what there is.")
    return wanted


def text_of(path: PurePosixPath) -> str:
    """What a file says."""
    return (PLACE / path).read_text(encoding="utf-8")


def write(paths: Sequence[PurePosixPath], folder: Path, *, force: bool) -> list[Path]:
    """Write files into a folder, under their paths in `deploy/`, and return where they are then.

    Args:
        folder: made where it is not there.
        force: write over files that say something else.

    Raises:
        Refused: a file is there that says something else; nothing was written.
        OSError: of the file that could not be written; those before it are there.
    """
    wanted = {folder / path: (PLACE / path).read_bytes() for path in paths}
    other = [place for place, content in wanted.items() if place.exists() and not _says(place, content)]
    if other and not force:
        more = f" and {len(other) - 1} more" if len(other) > 1 else ""
        raise Refused(f"{other[0]}{more}: there already, with other contents. --force writes over it.")
    for place, content in wanted.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        if not _says(place, content):
            place.write_bytes(content)
    return list(wanted)


def _says(place: Path, content: bytes) -> bool:
    return place.is_file() and place.read_bytes() == content
