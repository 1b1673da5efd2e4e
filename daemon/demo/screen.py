"""What the demo shows: a live screen on a terminal, one line an event elsewhere."""

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from daemon.demo.visitors import Visits
from gate.forgetting import ScoreMatrix

LINES_SHOWN = 9
SILENCE_SECONDS = 5.0
"""Off a terminal a line is printed at least so often."""
BAR_CELLS = 24
WORST_SHOWN_NATS = 0.8


@dataclass(slots=True)
class Scene:
    """What is going on, as the story last said it."""

    era: str = ""
    arrived: int = 0
    expected: int = 1
    doing: str = "starting"
    step: int = 0
    steps: int = 0
    twin: str = ""
    twin_step: int = 0
    twin_steps: int = 0
    serving: int | None = None
    swaps: int = 0
    refused: int = 0
    visits: Visits = field(default_factory=Visits)
    kept: ScoreMatrix | None = None
    naive: ScoreMatrix | None = None


class DemoScreen:
    """Draws the scene; a context manager. Off a terminal it prints each event as a line, and what goes on between."""

    def __init__(self, console: Console, columns: Sequence[str]) -> None:
        self.console = console
        self.scene = Scene()
        self.columns = columns
        self._began = time.monotonic()
        self.lines: list[Text] = []
        self._printed_at = self._began
        self._ended = threading.Event()
        self._teller = threading.Thread(target=self._tell_on, name="teller", daemon=True)
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=5, transient=True)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        else:
            self._teller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        self._ended.set()
        # On a terminal it was never started, and Python joins no such thread.
        if self._teller.ident is not None:
            self._teller.join()

    @property
    def seconds(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self._began

    def say(self, sentence: str, style: str = "") -> None:
        """Tell one event."""
        line = self._line(sentence, style)
        self.lines.append(line)
        if not self._live.is_started:
            self._print(line)

    def _line(self, sentence: str, style: str) -> Text:
        return Text.assemble((f"{self.seconds:5.0f} s  ", "dim"), (sentence, style))

    def _print(self, line: Text) -> None:
        self._printed_at = time.monotonic()
        self.console.print(line)

    def _tell_on(self) -> None:
        while not self._ended.wait(self._printed_at + SILENCE_SECONDS - time.monotonic()):
            if time.monotonic() - self._printed_at >= SILENCE_SECONDS:
                self._print(self._line("  " + self._now(), "dim"))

    def _now(self) -> str:
        twin = f"; the naive twin {self._twin()}" if self.scene.twin else ""
        return f"{self._round()}{twin}"

    def _draw(self) -> RenderableType:
        scene = self.scene
        table = Table.grid(padding=(0, 2))
        table.add_row("text arriving", ProgressBar(scene.expected, scene.arrived, BAR_CELLS), self._arriving())
        table.add_row("round", ProgressBar(scene.steps or 1, scene.step, BAR_CELLS), self._round())
        table.add_row("naive twin", ProgressBar(scene.twin_steps or 1, scene.twin_step, BAR_CELLS), self._twin())
        table.add_row("serving", self._serving(), self._visits())
        parts: list[RenderableType] = [table]
        if scene.kept is not None:
            parts.append(forgetting_chart(self.columns, scene.kept, scene.naive))
        parts.append(Group(*self.lines[-LINES_SHOWN:]))
        return Panel(Group(*parts), title=f"Riverkeep, {self.seconds:.0f} s", border_style="blue")

    def _arriving(self) -> str:
        return f"{self.scene.era}  {self.scene.arrived} of {self.scene.expected} paragraphs" if self.scene.era else ""

    def _round(self) -> str:
        steps = f", step {self.scene.step} of {self.scene.steps}" if self.scene.steps else ""
        return self.scene.doing + steps

    def _twin(self) -> str:
        steps = f", step {self.scene.twin_step} of {self.scene.twin_steps}" if self.scene.twin_steps else ""
        return self.scene.twin + steps

    def _serving(self) -> str:
        return "" if self.scene.serving is None else f"generation {self.scene.serving}"

    def _visits(self) -> Text:
        visits = self.scene.visits
        text = Text(f"{sum(visits.answered.values())} requests answered, {self.scene.swaps} swaps, ")
        return text.append(f"{visits.failed} failed", style="bold red" if visits.failed else "green")


def forgetting_chart(columns: Sequence[str], kept: ScoreMatrix, naive: ScoreMatrix | None) -> Table:
    """How far each era has moved from the best it ever was: a bar each for the kept model and its naive twin."""
    table = Table(title="forgotten since its best, nats per token", title_justify="left", box=None, padding=(0, 2))
    table.add_column("text from")
    table.add_column("kept by Riverkeep", min_width=BAR_CELLS + 8)
    table.add_column("naive twin", min_width=BAR_CELLS + 8)
    for column in range(len(kept.learned_at)):
        twin = "" if naive is None or column >= len(naive.learned_at) else _loss_bar(naive, column)
        table.add_row(columns[column], _loss_bar(kept, column), twin)
    return table


def _loss_bar(matrix: ScoreMatrix, column: int) -> Text:
    scores = [row[column] for row in matrix.scores if not math.isnan(row[column])]
    if not scores or math.isnan(matrix.scores[-1][column]):
        return Text("–", style="dim")
    lost = matrix.scores[-1][column] - min(scores)
    cells = min(BAR_CELLS, round(lost / WORST_SHOWN_NATS * BAR_CELLS))
    style = "green" if lost < 0.05 else "yellow" if lost < 0.2 else "red"
    return Text("█" * cells + ("▏" if cells == 0 else "") + f" {lost:.2f}", style=style)
