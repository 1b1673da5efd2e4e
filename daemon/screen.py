"""Where a person reads: text from outside is harmless there, and no word is cut in a pipe."""

import os
import sys
from collections.abc import Iterable
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from daemon.printable import printable

PIPE_COLUMNS = 10_000
"""In a file, a pipe or a ticket nothing is at the right edge."""


class Screen(Console):
    """A console to which any string may be given: what it colours and moves is only ever its own."""

    def render_str(self, text: str, **options: Any) -> Text:
        """A string as text that is laid out; escaped before, so that its width is that of what is seen."""
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The pieces of text that are written, with nothing hidden in them."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def open_screen() -> Screen:
    """Standard output: as wide as the terminal, or as `COLUMNS` says; elsewhere as wide as it takes."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Screen(width=None if known else PIPE_COLUMNS)


def table(*headers: str, fixed: Iterable[str] = ()) -> Table:
    """A plain table in which what is too long for the screen is broken into lines, never cut.

    Args:
        headers: of the columns.
        fixed: those that stay whole as long as others can give way.
    """
    made, whole = Table(box=box.SIMPLE, pad_edge=False), frozenset(fixed)
    for header in headers:
        longest = max((len(word) for word in header.split()), default=0)
        made.add_column(header, overflow="fold", no_wrap=header in whole, min_width=longest)
    return made
