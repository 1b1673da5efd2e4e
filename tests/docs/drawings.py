"""The drawings of the page of ideas, each made of boxes, arrows and words.

python -m tests.docs.drawings          # writes docs/idea-*.svg

Each has a ground and colours of its own for light and for dark, so that it can be read on any page. What they show has
no figures: those stand where a script printed them.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

FOLDER: Final = Path(__file__).parents[2] / "docs"
WIDTH: Final = 760
SIZES: Final = {"t": 14.0, "s": 12.5, "l": 12.0}
"""Of letters, by the class of a text: titles, words in boxes, words beside arrows."""
LETTER: Final = 0.605
"""A letter's width by its size, in the widest font that a reader may have: one in which all letters are as wide."""
LIGHT: Final[Mapping[str, str]] = {
    "ground": "#ffffff",
    "ink": "#1d2b36",
    "soft": "#44525e",
    "line": "#5b6b7c",
    "room": "#e3eef7",
    "yes": "#dff1e0",
    "no": "#f9e2e2",
    "held": "#f6edd3",
    "plain": "#f1f1ee",
    "warm": "#e8a27c",
}
DARK: Final[Mapping[str, str]] = {
    "ground": "#16202a",
    "ink": "#eef3f7",
    "soft": "#c3ced8",
    "line": "#93a4b4",
    "room": "#1f3a50",
    "yes": "#21452a",
    "no": "#552929",
    "held": "#4a3f1c",
    "plain": "#2b333b",
    "warm": "#8a4522",
}
FILLS: Final = ("room", "yes", "no", "held", "plain", "warm")


def _styles(colours: Mapping[str, str]) -> str:
    rules = [
        f".g{{fill:{colours['ground']}}}",
        f".t{{fill:{colours['ink']};font-weight:600;font-size:{SIZES['t']:g}px}}",
        f".s{{fill:{colours['soft']};font-size:{SIZES['s']:g}px}}",
        f".l{{fill:{colours['soft']};font-size:{SIZES['l']:g}px;font-style:italic}}",
        f".w{{stroke:{colours['line']};stroke-width:1.6;fill:none}}",
        f".d{{stroke:{colours['line']};stroke-width:1.4;fill:none;stroke-dasharray:5 4}}",
        f".h{{fill:{colours['line']}}}",
        *(f".{name}{{fill:{colours[name]};stroke:{colours['line']}}}" for name in FILLS),
    ]
    return "".join(rules)


@dataclass
class Drawing:
    """A drawing that is being made.

    Attributes:
        title: what it shows, for who hears it read.
        height: in its own units, of which it is 760 wide.
    """

    title: str
    height: int
    parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, words: str, kind: str = "s", *, anchor: str = "start", room: float = 0) -> None:
        """Words at a place; `room` is how wide they may be."""
        width = len(words) * SIZES[kind] * LETTER
        assert width <= (room or WIDTH), f"{words!r} is {width:.0f} wide where {room:.0f} are free"
        left = {"start": x, "middle": x - width / 2, "end": x - width}[anchor]
        assert 0 <= left <= WIDTH - width, f"{words!r} stands out of the drawing"
        assert 0 < y < self.height, words
        at = "" if anchor == "start" else f' text-anchor="{anchor}"'
        self.parts.append(f'<text class="{kind}" x="{x:g}" y="{y:g}"{at}>{escape(words)}</text>')

    def box(self, x: float, y: float, width: float, height: float, title: str, *lines: str, fill: str = "room") -> None:
        """A box with a title and lines below it."""
        assert fill in FILLS
        assert 26 + 18 * len(lines) <= height, f"{title!r} has more lines than its box"
        self.rectangle(x, y, width, height, fill)
        self.text(x + 12, y + 22, title, "t", room=width - 18)
        for row, line in enumerate(lines):
            self.text(x + 12, y + 41 + 18 * row, line, room=width - 18)

    def rectangle(self, x: float, y: float, width: float, height: float, fill: str, *, corner: int = 8) -> None:
        """A box without words."""
        self.parts.append(
            f'<rect class="{fill}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{corner}"/>'
        )

    def arrow(self, *points: tuple[float, float], words: str = "", dashed: bool = False) -> None:
        """An arrow through these points, with words above the middle of its first part."""
        path = " L".join(f"{x:g} {y:g}" for x, y in points)
        self.parts.append(f'<path class="{"d" if dashed else "w"}" d="M{path}" marker-end="url(#a)"/>')
        if words:
            (x, y), (to_x, to_y) = points[:2]
            upright = x == to_x
            self.text((x + to_x) / 2 + (8 if upright else 0), (y + to_y) / 2 - (-4 if upright else 6), words, "l",
                      anchor="start" if upright else "middle")  # fmt: skip

    def line(self, *points: tuple[float, float], dashed: bool = False) -> None:
        """A line without an end."""
        path = " L".join(f"{x:g} {y:g}" for x, y in points)
        self.parts.append(f'<path class="{"d" if dashed else "w"}" d="M{path}"/>')

    def svg(self) -> str:
        """The whole file."""
        look = 'role="img" font-family="ui-sans-serif, Helvetica, Arial, sans-serif"'
        arrow = 'viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto"'
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" {look}>',
            f"<title>{escape(self.title)}</title>",
            f"<style>{_styles(LIGHT)}@media (prefers-color-scheme: dark){{{_styles(DARK)}}}</style>",
            f'<defs><marker id="a" {arrow}><path class="h" d="M0 0L10 5L0 10z"/></marker></defs>',
            f'<rect class="g" width="{WIDTH}" height="{self.height}" rx="10"/>',
        )
        return "\n".join([*head, *self.parts, "</svg>"]) + "\n"


def river() -> Drawing:
    """What becomes of a record."""
    made = Drawing("A record becomes a document or a dead letter; a document is new text or held out, by its key", 250)
    made.box(20, 92, 150, 64, "a record", "topic, partition", fill="plain")
    made.text(32, 151, "and offset", room=132)
    made.arrow((170, 124), (208, 124))
    made.box(210, 92, 140, 64, "decoded", "a text, by its", fill="room")
    made.text(222, 151, "fields", room=120)
    made.arrow((350, 112), (420, 60), (458, 60))
    made.arrow((350, 124), (458, 124))
    made.arrow((350, 136), (420, 194), (458, 194))
    made.box(460, 32, 280, 48, "fresh", "text to train on", fill="yes")
    made.box(460, 96, 280, 48, "held out", "never trained on, by its key", fill="held")
    made.box(460, 170, 280, 48, "a dead letter", "with its reason; it stops nothing", fill="no")
    made.line((448, 24), (448, 226), dashed=True)
    made.text(20, 236, "Right of the dashed line: one transaction, with the record's offset.", "l")
    return made


def memory() -> Drawing:
    """What becomes of a text in the memory."""
    made = Drawing(
        "Fresh text settles into replay when a round is accepted, and is set aside when it was refused twice", 290
    )
    made.box(20, 40, 200, 66, "fresh", "waits for a round;", "a refusal loses nothing", fill="yes")
    made.box(500, 40, 240, 66, "replay", "a sample of all so far,", "mixed into every round", fill="room")
    made.arrow((220, 72), (498, 72), words="a round is accepted")
    made.box(20, 190, 200, 66, "aside", "not trained, not scored,", "until a person decides", fill="no")
    made.arrow((60, 106), (60, 188), words="refused twice")
    made.arrow((200, 190), (200, 108))
    made.text(208, 152, "released", "l")
    made.arrow((220, 236), (320, 236), words="dropped")
    made.text(328, 240, "gone", "s")
    made.box(
        500,
        190,
        240,
        66,
        "held out",
        "slices, by source and time;",
        "the anchor: before the stream",
        fill="held",
    )
    made.arrow((620, 188), (620, 108), dashed=True)
    made.text(628, 152, "never", "l")
    made.text(20, 22, "The number of texts and of tokens is bounded, whatever the river brings.", "l")
    return made


def round_() -> Drawing:
    """What a round does."""
    made = Drawing(
        "A round trains on new and replayed text and gives candidates between the parent and what was trained", 262
    )
    made.box(20, 30, 150, 84, "a batch", fill="plain")
    made.rectangle(32, 64, 62, 36, "yes", corner=3)
    made.rectangle(96, 64, 62, 36, "room", corner=3)
    made.text(63, 87, "new", anchor="middle", room=60)
    made.text(127, 87, "replay", anchor="middle", room=60)
    made.arrow((170, 72), (238, 72))
    made.box(
        240,
        30,
        250,
        84,
        "a step",
        "learn both; on replayed text",
        "stay near what the parent says",
        "(KL divergence)",
        fill="room",
    )
    made.arrow((490, 72), (528, 72), words="many")
    made.box(530, 30, 210, 84, "trained weights", "what it touched is noted:", "that alone was trained on", fill="room")
    made.line((90, 200), (650, 200))
    for share, name in ((0.0, "the parent"), (0.5, ""), (0.75, ""), (1.0, "trained")):
        x = 90 + 560 * share
        made.rectangle(x - 9, 191, 18, 18, "plain" if share == 0 else "yes", corner=9)
        if name:
            made.text(x, 236, name, anchor="middle")
    made.text(440, 182, "candidates: on the way between the two", anchor="middle")
    made.text(440, 236, "less learned, less forgotten", "l", anchor="middle")
    made.arrow((635, 114), (648, 186), dashed=True)
    return made


def gate() -> Drawing:
    """How the gate sees a difference."""
    made = Drawing(
        "The gate accepts where the whole interval lies on the right side of the bound, and nothing else", 262
    )
    made.rectangle(230, 46, 250, 176, "yes")
    made.rectangle(480, 46, 260, 176, "no")
    made.text(355, 36, "better than the parent", anchor="middle")
    made.text(610, 36, "worse", anchor="middle")
    made.line((480, 40), (480, 226))
    made.line((560, 46), (560, 222), dashed=True)
    made.text(560, 244, "how much old text may lose", "l", anchor="middle")
    rows = (
        (76, "new text: learned", 290, 420, "held"),
        (118, "new text: unproven", 330, 530, "not held"),
        (160, "old text: within the bound", 440, 540, "held"),
        (202, "old text: not ruled out", 470, 640, "not held"),
    )
    for y, name, low, high, word in rows:
        made.text(20, y + 4, name, room=205)
        made.line((low, y), (high, y))
        made.line((low, y - 6), (low, y + 6))
        made.line((high, y - 6), (high, y + 6))
        made.rectangle((low + high) / 2 - 5, y - 5, 10, 10, "plain", corner=5)
        made.text(730, y + 4, word, "t", anchor="end")
    return made


def forgetting() -> Drawing:
    """What R is."""
    made = Drawing(
        "R: each generation's score on each slice; forgetting is how far it is behind the best it once was", 280
    )
    slices, left, top, side = ("anchor", "slice 1", "slice 2", "slice 3"), 210, 60, 74
    fills = (
        ("yes", "plain", "plain", "plain"),
        ("yes", "yes", "plain", "plain"),
        ("yes", "warm", "yes", "plain"),
        ("yes", "warm", "yes", "yes"),
    )
    for column, name in enumerate(slices):
        made.text(left + side * column + side / 2, 46, name, anchor="middle", room=side)
    for row, cells in enumerate(fills):
        y = top + 42 * row
        made.text(196, y + 25, "base" if row == 0 else f"generation {row}", anchor="end")
        for column, fill in enumerate(cells):
            made.rectangle(left + side * column, y, side - 4, 38, fill, corner=4)
    made.text(left + side + 35, top + 42 + 24, "best", "t", anchor="middle")
    made.text(left + side + 35, top + 84 + 24, "worse", "t", anchor="middle")
    made.text(left + side + 35, top + 126 + 24, "worse", "t", anchor="middle")
    made.text(528, 92, "below the diagonal: learned,", room=230)
    made.text(528, 110, "and to be kept", room=230)
    made.text(528, 146, "warm: forgotten, by as much as", room=230)
    made.text(528, 164, "it is worse than its best", room=230)
    made.text(528, 200, "pale: what comes later, scored", room=230)
    made.text(528, 218, "before it was trained on", room=230)
    made.text(20, 262, "Slices are held-out text. Nothing of them was ever trained on, not even nearly the same.", "l")
    return made


def swap() -> Drawing:
    """What happens to requests."""
    made = Drawing(
        "A new generation is loaded and warmed beside the old one; each answer comes whole from one of them", 262
    )
    made.text(20, 62, "generation 7", "t")
    made.text(20, 152, "generation 8", "t")
    made.rectangle(140, 34, 390, 48, "room")
    made.rectangle(250, 124, 150, 48, "plain")
    made.rectangle(400, 124, 340, 48, "yes")
    made.text(325, 153, "verified, warmed", anchor="middle", room=146)
    made.line((400, 20), (400, 226), dashed=True)
    made.text(408, 218, "the swap", "l")
    # Each row is a place where one request after another is answered.
    for row, requests in enumerate((((155, 235), (285, 460)), ((190, 330), (360, 515)), ((150, 275), (310, 385)))):
        for begin, end in requests:
            made.arrow((begin, 45 + 13 * row), (end, 45 + 13 * row))
    for row, requests in enumerate((((475, 600), (615, 730)), ((530, 650), (660, 725)), ((410, 520), (540, 700)))):
        for begin, end in requests:
            made.arrow((begin, 135 + 13 * row), (end, 135 + 13 * row))
    made.text(140, 102, "what began here ends here", "l")
    made.text(408, 192, "what begins now is answered here", "l")
    made.arrow((140, 240), (740, 240))
    made.text(20, 244, "time", "l")
    return made


DRAWINGS: Final[Mapping[str, Callable[[], Drawing]]] = {
    "river": river,
    "memory": memory,
    "round": round_,
    "gate": gate,
    "forgetting": forgetting,
    "swap": swap,
}


def files() -> Iterator[tuple[Path, str]]:
    """Each file with what stands in it."""
    for name, draw in DRAWINGS.items():
        yield FOLDER / f"idea-{name}.svg", draw().svg()


def contrast(one: str, other: str) -> float:
    """How far two colours are apart, 1 to 21, as the guidelines for accessible pages reckon it (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        parts: Sequence[float] = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


if __name__ == "__main__":
    for file, text in files():
        file.write_text(text, encoding="utf-8")
