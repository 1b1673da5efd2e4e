"""What all benchmarks share: figures with the bar that each must reach, a table, a JSON file, an exit code."""

import argparse
import json
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A measured figure and the bar that it must reach: `at_least`, `at_most`, or neither for a figure of note."""

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def reached(self) -> bool:
        """Whether the figure is within its bar."""
        low = self.at_least is None or self.value >= self.at_least
        return low and (self.at_most is None or self.value <= self.at_most)

    def facts(self) -> dict[str, float | str]:
        """The bar as JSON values, without what is not set."""
        bounds = {"at_least": self.at_least, "at_most": self.at_most}
        set_bounds = {name: bound for name, bound in bounds.items() if bound is not None}
        return {"name": self.name, "value": self.value, **set_bounds}


def arguments(description: str | None) -> argparse.ArgumentParser:
    """A parser that knows `--json FILE`; a benchmark adds its own options."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the bars there")
    return parser


def report(title: str, bars: Sequence[Bar], json_file: Path | None, details: Mapping[str, Any] | None = None) -> int:
    """Print the table, write the file, `details` (JSON values) with it; returns the exit code: 1 for a missed bar."""
    table = Table("figure", "measured", "bar", "", title=title)
    for bar in bars:
        table.add_row(bar.name, f"{bar.value:,.4g}", _bar(bar), "" if bar.reached else "[red]missed[/red]")
    Console().print(table)
    if json_file:
        contents = {"bars": [bar.facts() for bar in bars], "machine": _machine(), "details": details or {}}
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")
    # Only after the file is written: a missed bar is what somebody will want to read about.
    return 0 if all(bar.reached for bar in bars) else 1


def _machine() -> dict[str, Any]:
    memory_gib = round(psutil.virtual_memory().total / 2**30, 1)
    return {
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "memory_gib": memory_gib,
        "python": platform.python_version(),
    }


def _processor() -> str:
    """Its name; where the kernel does not tell it, that of its family."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.machine()


def _bar(bar: Bar) -> str:
    if bar.at_least is not None:
        return f"≥ {bar.at_least:g}"
    return f"≤ {bar.at_most:g}" if bar.at_most is not None else ""
