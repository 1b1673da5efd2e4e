"""What every benchmark ends with: a table of its bars for people, JSON for machines, an exit status for scripts."""

import argparse
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Bar:
    """A measured figure and the bound that it must keep, at least or at most."""

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the figure keeps its bound; NaN never does."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return self.at_most is None or self.value <= self.at_most

    def as_json(self) -> dict[str, Any]:
        """The bar with the bound that it has."""
        bound = {"at_least": self.at_least} if self.at_least is not None else {"at_most": self.at_most}
        return {"name": self.name, "value": self.value, **bound}


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--json", type=Path, metavar="FILE", help="also write the bars and details to FILE")
    return options


def finish(bars: Sequence[Bar], *, json_file: Path | None, details: Mapping[str, Any] | None = None) -> int:
    """Print the bars, write the JSON if asked, and return the exit status: 0 when every bar holds, else 1."""
    table = Table(title="Bars")
    for column in ("figure", "measured", "bound", ""):
        table.add_column(column, justify="left" if column == "figure" else "right")
    for bar in bars:
        bound = f"≥ {bar.at_least:g}" if bar.at_least is not None else f"≤ {bar.at_most:g}"
        table.add_row(bar.name, f"{bar.value:.3f}", bound, "[green]holds[/]" if bar.holds else "[red]broken[/]")
    Console().print(table)
    if json_file is not None:
        contents = {"bars": [bar.as_json() for bar in bars], "details": details or {}, "machine": _machine()}
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")
    return 0 if all(bar.holds for bar in bars) else 1


def _machine() -> dict[str, Any]:
    memory_gib = round(psutil.virtual_memory().total / 2**30, 1)
    return {"cores": psutil.cpu_count(), "memory_gib": memory_gib, "python": platform.python_version()}
