"""Where a person reads: text from outside is harmless there, and no word is cut in a pipe."""

import os
import sys
from collections.abc import Iterable
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from daemon.control.answers.rounds import RoundLine
from daemon.control.answers.status import LastRoundStanding
from daemon.control.printable import printable

BETWEEN_COLUMNS = 3
"""A blank on either side of each cell and a line between; at the edges one line takes the place of two blanks."""
PIPE_COLUMNS = 10_000
"""In a file, a pipe or a ticket sentences are not broken."""
PIPE_TABLE_COLUMNS = 120
"""A table is there for a person all the same: who asks for more sets `COLUMNS`, a script takes `--json`."""


class Screen(Console):
    """A console to which any string may be given: what it colours and moves is only ever its own."""

    def render_str(self, text: str, **options: Any) -> Text:
        """A string as text that is laid out; escaped before, so that its width is that of what is seen."""
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The pieces of text that are written, with nothing hidden in them."""
        for segment in super().render(renderable, options):
            # Control segments are rich's own: they move the cursor, and hold nothing from outside.
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def open_screen() -> Screen:
    """Standard output: as wide as the terminal, or as `COLUMNS` says; elsewhere sentences are not broken."""
    has_width = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Screen(width=None if has_width else PIPE_COLUMNS)


class WholeTable(Table):
    """A plain table in which what is too long for the screen is broken into lines, never cut.

    Args:
        fixed: headers of the columns that are broken only where nothing else can give way.
    """

    def __init__(self, *headers: str, fixed: Iterable[str] = ()) -> None:
        super().__init__(box=box.SIMPLE, pad_edge=False)
        for header in headers:
            self.add_column(header, overflow="fold")
        self._fixed = [header in frozenset(fixed) for header in headers]
        self._heading = [_longest_word(header) for header in headers]
        self._word = list(self._heading)
        self._whole = [cell_len(header) for header in headers]

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        """As `Table.add_row`, of strings and `Text`."""
        for number, cell in enumerate(cells):
            # Escapes are longer than what they stand for, and markup is not shown: measured is what will be seen.
            text = cell if isinstance(cell, Text) else Text.from_markup(printable(str(cell)))
            self._word[number] = max(self._word[number], _longest_word(text.plain))
            self._whole[number] = max(self._whole[number], text.cell_len)
        super().add_row(*cells, **options)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The lines, laid out for the width that there is."""
        # No terminal is as wide: it is the width that `open_screen` gave.
        width = PIPE_TABLE_COLUMNS if options.max_width == PIPE_COLUMNS else options.max_width
        room = width - BETWEEN_COLUMNS * len(self.columns) + 1
        for column, width in zip(self.columns, self._widths(room), strict=True):
            column.width = width
        yield from super().__rich_console__(console, options)

    def _widths(self, room: int) -> list[int]:
        """How wide each column is, together at most `room` where they can be."""
        columns = list(zip(self._fixed, self._heading, self._word, self._whole, strict=True))
        floors = (
            [whole if fixed else word for fixed, _, word, whole in columns],
            [whole if fixed else heading for fixed, heading, _, whole in columns],
            self._word,
            self._heading,
        )
        # They go from what reads best to what merely fits: the first that fits is taken.
        floor = next((floor for floor in floors if sum(floor) <= room), [1] * len(columns))
        wanting = [whole - least for whole, least in zip(self._whole, floor, strict=True)]
        spare = max(0, min(room - sum(floor), sum(wanting)))
        return [least + spare * more // max(1, sum(wanting)) for least, more in zip(floor, wanting, strict=True)]


def _longest_word(text: str) -> int:
    return max(map(cell_len, text.split()), default=1)


def table(*headers: str, fixed: Iterable[str] = ()) -> WholeTable:
    """See `WholeTable`."""
    return WholeTable(*headers, fixed=fixed)


STATE_STYLES = {
    "accepted": "green",
    "refused": "red",
    "failed": "red",
    "waiting": "yellow",
    "dry run: would be accepted": "green",
    "dry run: would be refused": "red",
    "dry run: would wait": "yellow",
    "abandoned": "yellow",
    "canary": "yellow",
    "rolled_back": "yellow",
    "retired": "dim",
    "reserved": "dim",
}

console = open_screen()


def outcome_text(round_: RoundLine | LastRoundStanding) -> Text:
    """What a round came to."""
    outcome = str(round_.get("outcome", round_["state"]))
    return Text(outcome.replace("_", " "), STATE_STYLES.get(outcome, ""))


def state_text(state: str) -> Text:
    """A state of a round, in its colour."""
    return Text(state.replace("_", " "), STATE_STYLES.get(state, ""))


def number_text(value: Any) -> str:
    """A figure to three decimals, which is never less than nothing; empty where there is none."""
    text = "" if value is None else f"{value:.3f}"
    # A loss of minus nothing reads like a gain.
    return "0.000" if text == "-0.000" else text
