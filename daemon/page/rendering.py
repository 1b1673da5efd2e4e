"""From what is shown to HTML: templates that escape everything, and words for figures, times and text from outside."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from daemon.control.how_it_stands import gigabytes
from daemon.control.printable import printable
from daemon.page.access.sessions import PageSession
from daemon.page.static import StaticFiles
from daemon.span import span

TEMPLATES: Final = Path(__file__).parent / "templates"
LONGEST_WORD: Final = 120
"""Characters of a key, a topic or a source from outside that are shown."""


@dataclass(frozen=True, slots=True)
class Tab:
    """A page that every page leads to."""

    path: str
    name: str


TABS: Final = (
    Tab("/", "Now"),
    Tab("/needs", "Needs you"),
    Tab("/rounds", "Rounds"),
    Tab("/knowledge", "Knowledge"),
    Tab("/generations", "Generations"),
    Tab("/serving", "Serving"),
    Tab("/streams", "Streams"),
    Tab("/memory", "Memory"),
    Tab("/dead-letters", "Dead letters"),
    Tab("/trace", "Trace"),
    Tab("/audit", "Audit log"),
)


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around a page.

    Attributes:
        path: of the tab that it belongs to.
        title: before the name of the program.
        needs: how many things wait for a person.
        command: that shows the same on a terminal; empty where none does.
        json: where the same is as JSON; empty where there is no such address.
        live: where the events come from that keep it current; empty where nothing does.
    """

    path: str
    title: str
    needs: int = 0
    command: str = ""
    json: str = ""
    live: str = ""


@dataclass(frozen=True, slots=True)
class Outside:
    """Text from outside as it is shown: harmless, and no longer than there is room.

    Attributes:
        text: the beginning.
        left_out: characters that are not shown.
    """

    text: str
    left_out: int


def outside(text: object, most: int = LONGEST_WORD) -> Outside:
    """Text that others wrote, without invisible characters, and cut."""
    whole = str(text)
    return Outside(printable(whole[:most]), max(0, len(whole) - most))


class Renderer:
    """Draws pages.

    Args:
        static: the files that pages name.
        clock: unix seconds.
    """

    def __init__(self, static: StaticFiles, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._templates = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.filters |= {
            "ago": lambda moment: span(max(0.0, clock() - moment)),
            "span": span,
            "moment": _moment,
            "figure": figure,
            "count": lambda number: f"{number:,}",
            "of": lambda number, noun: f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s",
            "share": lambda share: f"{share:.1%}",
            "bytes": gigabytes,
            "outside": outside,
            "sentence": _sentence,
            "plain": lambda name: str(name).replace("_", " "),
        }
        self._templates.globals |= {"static": static.address, "tabs": TABS}

    def page(
        self,
        template: str,
        frame: Frame,
        shown: Any,
        session: PageSession | None,
        *,
        status: int = 200,
        notice: str = "",
    ) -> HTMLResponse:
        """A page with everything around it, for somebody who is signed in."""
        form_token = "" if session is None else session.form_token
        return self._html(
            template, status, frame=frame, shown=shown, form_token=form_token, notice=notice, now=self._clock()
        )

    def bare(self, template: str, title: str, shown: Any, *, status: int = 200) -> HTMLResponse:
        """A page for whoever asks, which tells nothing of the service."""
        return self._html(template, status, frame=Frame("", title), shown=shown)

    def _html(self, template: str, status: int, **context: Any) -> HTMLResponse:
        return HTMLResponse(self._templates.get_template(template).render(**context), status_code=status)


def figure(value: float | None) -> str:
    """A figure to three decimals, never minus nothing; a dash where there is none."""
    text = "–" if value is None else f"{value:.3f}"
    return "0.000" if text == "-0.000" else text.replace("-", "−")


def _moment(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def _sentence(text: str) -> str:
    """With a capital at its beginning and a stop at its end."""
    ended = text if text.endswith((".", "!", "?")) or not text else f"{text}."
    return ended[:1].upper() + ended[1:]
