"""How long the command line takes to answer.

    python -m benchmarks.startup [--json FILE] [--turns N]

`riverkeep --help`, and `riverkeep status` on a state directory in which nothing ran yet, beside what they are made of
and what they must do without: a bare interpreter, and one that imports torch. In turns, each a process of its own,
from its start to its end. The first turn, which finds nothing in the page cache, is not counted.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Final

from rich.console import Console
from rich.table import Table

from benchmarks.report import Bar, arguments, report
from daemon.exit_codes import ExitCode

RIVERKEEP: Final = str(Path(sys.executable).with_name("riverkeep"))
COMMANDS: Final = {
    "riverkeep --help": ((RIVERKEEP, "--help"), 0),
    "riverkeep status": ((RIVERKEEP, "status"), ExitCode.NOT_RUNNING),
    "python -c pass": ((sys.executable, "-c", "pass"), 0),
    "import torch": ((sys.executable, "-c", "import torch"), 0),
}
"""What is run, and how it is to end."""
SETTINGS: Final = 'state_dir = "state"\n[model]\npath = "model"\n'


def seconds_of(command: tuple[str, ...], ending: int, home: Path) -> float:
    """Wall time of one run.

    Raises:
        RuntimeError: it ended in another way than it should.
    """
    # Settings may come by the environment; those of who runs this must not change what is measured.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RIVERKEEP_")}
    began = time.perf_counter()
    run = subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)
    elapsed = time.perf_counter() - began
    if run.returncode != ending:
        raise RuntimeError(f"{' '.join(command)} ended with {run.returncode}, not {ending}: {run.stderr[-2000:]}")
    return elapsed


def measure(turns: int) -> dict[str, list[float]]:
    """Seconds of each command, turn by turn."""
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory(prefix="riverkeep-startup-") as folder:
        home = Path(folder)
        (home / "riverkeep.toml").write_text(SETTINGS, encoding="utf-8")
        for turn in range(turns + 1):
            for name, (command, ending) in COMMANDS.items():
                elapsed = seconds_of(command, ending, home)
                if turn:
                    seconds[name].append(elapsed)
    return seconds


def show(seconds: dict[str, list[float]]) -> None:
    """Print what each command took."""
    table = Table("command", "median s", "least", "most", title=f"{len(seconds['python -c pass'])} turns")
    for name, values in seconds.items():
        table.add_row(name, *(f"{value:.3f}" for value in (median(values), min(values), max(values))))
    Console().print(table)


def main() -> int:
    """Measure, print, and return the exit status."""
    options = arguments(__doc__)
    options.add_argument("--turns", type=int, default=20, help="how often each is run (20)")
    chosen = options.parse_args()
    # Before the first turn: the runs themselves are load.
    before = os.getloadavg()[0]
    seconds = measure(chosen.turns)
    show(seconds)
    medians = {name: median(values) for name, values in seconds.items()}
    bars = [
        Bar(name="riverkeep --help, seconds", value=medians["riverkeep --help"], at_most=0.5),
        Bar(name="riverkeep status where nothing ran, seconds", value=medians["riverkeep status"]),
        Bar(name="a bare interpreter, seconds", value=medians["python -c pass"]),
        Bar(name="an interpreter that imports torch, seconds", value=medians["import torch"]),
    ]
    # A busy machine is slower at everything; the reader of a figure has to be able to tell.
    load = {"before": before, "after": os.getloadavg()[0]}
    return report("Startup", bars, chosen.json, {"turns": chosen.turns, "load": load})


if __name__ == "__main__":
    sys.exit(main())
