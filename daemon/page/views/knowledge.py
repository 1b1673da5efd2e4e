"""What is known and what was forgotten: R as a heat map with its margins, and both over the rounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from daemon.control.answers.rounds import GenerationsAnswer, JudgedRound, LearnedLine, MeasureStanding
from daemon.control.score_cells import Cell, cells, scored_apart
from daemon.page.views.charts import Chart, Figure, chart
from memory.ledger.records import lineage
from memory.samples.slice_names import ANCHOR, first_round, rounds_of, source_of

ROWS_SHOWN: Final = 20
COLUMNS_SHOWN: Final = 24
WARMEST_NATS: Final = 0.3
"""The rise over the best earlier score from which a cell is as warm as it gets."""
NEUTRAL_NATS: Final = 0.005
TONES: Final = 5


@dataclass(frozen=True, slots=True)
class HeatCell:
    """An entry of R.

    Attributes:
        tone: `warm1` … `warm5` where it forgot, `cool1` … `cool5` where it is better than ever, `even`, or `apart`
            where it was scored in another way than what serves.
        words: for who sees no colours.
    """

    figure: float
    tone: str
    words: str


@dataclass(frozen=True, slots=True)
class HeatColumn:
    """A slice: of which source, of which rounds; the anchor has no rounds.

    Attributes:
        margin: how much what serves forgot of it; None where that cannot be told.
    """

    source: str
    rounds: str
    margin: float | None


@dataclass(frozen=True, slots=True)
class HeatRow:
    """A generation.

    Attributes:
        margin: the mean rise over the slices that are shown; None where none can be compared.
    """

    generation: int
    serves: bool
    led_here: bool
    cells: tuple[HeatCell | None, ...]
    margin: float | None


@dataclass(frozen=True, slots=True)
class NamedMeasure:
    """A measure of what serves, and what it means."""

    name: str
    figure: float | None
    lower: float | None
    upper: float | None
    meaning: str


@dataclass(frozen=True, slots=True)
class KnowledgeView:
    """What is known.

    Attributes:
        diagonal: what generations learned of their own text, by round.
        twin: what a naive twin forgot, by round; empty where none follows.
        left_out_rows, left_out_columns: of R, that are not shown.
        apart: what cannot be compared, in sentences.
    """

    serving: int | None
    measures: tuple[NamedMeasure, ...]
    forgotten: Chart | None
    learned: Chart | None
    plasticity: Chart | None
    judged: tuple[JudgedRound, ...]
    diagonal: Mapping[int, LearnedLine]
    twin: Mapping[int, float]
    columns: tuple[HeatColumn, ...]
    rows: tuple[HeatRow, ...]
    left_out_rows: int
    left_out_columns: int
    apart: tuple[str, ...]
    unit: str


def knowledge_view(answer: GenerationsAnswer) -> KnowledgeView:
    """What is known, of the generations and R."""
    matrix, serving = cells(answer), answer["serving"]
    twin = {each["round"]: each["forgotten"] for each in answer["twin"]}
    names = _columns(answer["slices"])
    scored = sorted({generation for generation, _ in matrix})
    led_here = frozenset() if serving is None else frozenset(lineage(_parents(answer), serving))
    rows = tuple(
        _row(number, matrix, names, serves=number == serving, led_here=number in led_here)
        for number in scored[-ROWS_SHOWN:]
    )
    return KnowledgeView(
        serving=serving,
        measures=_measures(answer),
        forgotten=chart([_forgotten(each) for each in answer["judged"] if each["forgotten"] is not None], twin),
        learned=chart([_learned(each) for each in answer["judged"] if each["learned"] is not None]),
        plasticity=_plasticity(answer),
        judged=tuple(answer["judged"]),
        diagonal={line["round"]: line for line in answer["learned"]},
        twin=twin,
        columns=tuple(_column(name, matrix, serving) for name in names),
        rows=rows,
        left_out_rows=max(0, len(scored) - ROWS_SHOWN),
        left_out_columns=len(answer["slices"]) - len(names),
        apart=tuple(_apart(way, numbers) for way, numbers in scored_apart(answer).items()),
        unit="document" if any(row["accuracy"] is not None for row in answer["scores"]) else "token",
    )


def _parents(answer: GenerationsAnswer) -> dict[int, int | None]:
    return {line["number"]: line["parent"] for line in answer["generations"]}


def _columns(names: Sequence[str]) -> list[str]:
    """The first (the anchor), and of the others those whose text came last, in their order."""
    latest = sorted(names[1:], key=first_round, reverse=True)[: COLUMNS_SHOWN - 1]
    shown = {*names[:1], *latest}
    return [name for name in names if name in shown]


def _column(name: str, matrix: Mapping[tuple[int, str], Cell], serving: int | None) -> HeatColumn:
    cell = None if serving is None else matrix.get((serving, name))
    source = ANCHOR if name == ANCHOR else source_of(name)
    first, _, last = rounds_of(name).partition("-")
    rounds = "" if name == ANCHOR else first if first == last else f"{first}–{last}"
    return HeatColumn(source, rounds, None if cell is None else cell.rise)


def _row(
    number: int, matrix: Mapping[tuple[int, str], Cell], names: Sequence[str], *, serves: bool, led_here: bool
) -> HeatRow:
    entries = [matrix.get((number, name)) for name in names]
    rises = [entry.rise for entry in entries if entry is not None and entry.rise is not None]
    shown = tuple(None if entry is None else _cell(entry) for entry in entries)
    return HeatRow(number, serves, led_here, shown, fmean(rises) if rises else None)


def _cell(cell: Cell) -> HeatCell:
    if cell.apart:
        return HeatCell(cell.mean_nll, "apart", "not comparable")
    if cell.rise is None:
        return HeatCell(cell.mean_nll, "even", "")
    if abs(cell.rise) < NEUTRAL_NATS:
        return HeatCell(cell.mean_nll, "even", "as the best before")
    strength = 1 + min(TONES - 1, int(abs(cell.rise) / WARMEST_NATS * TONES))
    kind, words = ("warm", "worse") if cell.rise > 0 else ("cool", "better")
    return HeatCell(cell.mean_nll, f"{kind}{strength}", f"{abs(cell.rise):.3f} {words} than the best before")


def _forgotten(judged: JudgedRound) -> Figure:
    assert judged["forgotten"] is not None
    words = f"Round {judged['round']}: {judged['forgotten']:+.3f} nats over the best so far, {_came_to(judged)}"
    return Figure(
        judged["round"], judged["forgotten"], judged["lower"], judged["upper"], judged["bound"], words, _is_kept(judged)
    )


def _learned(judged: JudgedRound) -> Figure:
    assert judged["learned"] is not None
    words = f"Round {judged['round']}: {judged['learned']:+.3f} nats gained on its newest text, {_came_to(judged)}"
    limits = judged["learned_lower"], judged["learned_upper"], judged["learned_bound"]
    return Figure(judged["round"], judged["learned"], *limits, words, _is_kept(judged))


def _plasticity(answer: GenerationsAnswer) -> Chart | None:
    """R[j,j] generation by generation, beside its mean so far and the most that the gate let through."""
    least_gain = {each["round"]: each["learned_bound"] for each in answer["judged"]}
    figures = []
    for line in answer["learned"]:
        before, gain = line["before"], least_gain.get(line["round"])
        asked = None if before is None or gain is None else before - gain
        was = "" if before is None else f", its parent {before:.3f}"
        words = f"Generation {line['generation']}: {line['after']:.3f} on what it learned{was}"
        figures.append(Figure(line["generation"], line["after"], None, None, asked, words, is_kept=True))
    means = {line["generation"]: line["plasticity"] for line in answer["learned"]}
    return chart(figures, means, with_zero=False)


def _is_kept(judged: JudgedRound) -> bool:
    return judged["generation"] is not None


def _came_to(judged: JudgedRound) -> str:
    return "refused" if judged["generation"] is None else f"generation {judged['generation']}"


def _measures(answer: GenerationsAnswer) -> tuple[NamedMeasure, ...]:
    known = answer["knowledge"]
    return (
        _measure(
            "Forgetting", known["forgetting"], "how much worse than the best before it, on older text; above 0 is bad"
        ),
        _measure(
            "Backward transfer", known["backward_transfer"], "what later rounds did to earlier text; above 0 is good"
        ),
        NamedMeasure(
            "Forward transfer", known["forward_transfer"], None, None, "what was known of text before it was trained on"
        ),
        NamedMeasure(
            "Plasticity", known["plasticity"], None, None, "mean of R[j,j]: loss on new text once it was learned"
        ),
    )


def _measure(name: str, measured: MeasureStanding | None, meaning: str) -> NamedMeasure:
    if measured is None:
        return NamedMeasure(name, None, None, None, meaning)
    return NamedMeasure(name, measured["figure"], measured["lower"], measured["upper"], meaning)


def _apart(way: str | None, numbers: Sequence[int]) -> str:
    how = "in a way not known any more" if way is None else way
    return f"Not comparable with what serves: {', '.join(map(str, numbers))}, scored {how}."
