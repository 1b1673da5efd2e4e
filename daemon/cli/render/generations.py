"""R as a picture: each generation's loss on each slice, warm where it forgot."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from daemon.cli.render.screen import console, number_text, state_text, table
from daemon.control.answers.rounds import GenerationsAnswer, KnowledgeStanding, ScoreLine, SkillLine
from daemon.control.printable import inline, printable
from daemon.control.score_cells import Cell, cells, scored_apart
from daemon.span import span as ago
from memory.samples.slice_names import ANCHOR, first_round, rounds_of, source_of

CELL_WIDTH = 10
GENERATION_WIDTH = 14
WARMEST_NATS = 0.3
"""The rise over the best earlier score from which a cell is as warm as it gets."""
NEUTRAL_NATS = 0.005


def legend(facts: GenerationsAnswer) -> Iterator[str]:
    """What is to be known to read the table: the arrows, the names of slices, and what cannot be compared."""
    unit = "document" if any(row.get("accuracy") is not None for row in facts["scores"]) else "token"
    yield f"Nats per {unit} on held-out text. ↑ worse than the best that led to it (forgotten), ↓ better."
    yield from names_explained(facts["slices"])
    for way, numbers in scored_apart(facts).items():
        how = "in a way not known any more" if way is None else way
        yield f"* not comparable with what serves: {', '.join(map(str, numbers))} scored {how}."


def heat_table(facts: GenerationsAnswer, *, width: int) -> Table:
    """R as a table that fits `width` columns: the first slice (the anchor) and the latest that fit.

    Names take the room that there is, and go on in a second line where it is too small.
    """
    matrix = cells(facts)
    names = _that_fit(facts["slices"], max(1, (width - GENERATION_WIDTH) // (CELL_WIDTH + 2)))
    room = max(CELL_WIDTH, (width - GENERATION_WIDTH) // max(1, len(names)) - 2)
    left_out = len(facts["slices"]) - len(names)
    table = Table(
        "generation", box=box.SIMPLE, caption=f"{left_out} earlier slices are not shown" if left_out else None
    )
    for name in names:
        heading = printable(name) if len(name) <= room else f"{printable(source_of(name))}\n@{rounds_of(name)}"
        table.add_column(Text(heading), justify="right", max_width=room, overflow="fold")
    for generation in sorted({generation for generation, _ in matrix}):
        mark = " ←" if generation == facts["serving"] else ""
        table.add_row(f"{generation}{mark}", *(_paint(matrix.get((generation, name))) for name in names))
    return table


def _that_fit(names: Sequence[str], most: int) -> list[str]:
    """The first, and of the others those whose text came last, in the order of `names`."""
    # By round, not as words, of which 10-11 would come before 3-5.
    latest = sorted(names[1:], key=first_round, reverse=True)[: most - 1]
    fitting = {*names[:1], *latest}
    return [name for name in names if name in fitting]


def _paint(cell: Cell | None) -> Text:
    if cell is None:
        return Text("·", "dim")
    text = f"{cell.mean_nll:.3f}"
    if cell.apart:
        return Text(f"{text}*", "dim")
    if cell.rise is None or abs(cell.rise) < NEUTRAL_NATS:
        return Text(text)
    # On a terminal without colours the arrow says the same.
    return Text(f"{'↑' if cell.rise > 0 else '↓'}{text}", _colour(cell.rise))


def _colour(rise: float) -> str:
    strength = min(1.0, abs(rise) / WARMEST_NATS)
    faded = round(225 - 150 * strength)
    return f"black on rgb(255,{faded},{faded})" if rise > 0 else f"black on rgb({faded},235,{faded})"


ERASED = {
    "trained": "trained on text that was erased since",
    "inherited": "made from one that was trained on text that was erased since",
}


def how_to_read(units: str, *, drops: bool) -> str:
    """What the figures of checks are."""
    lost = "; accuracy, macro-F1 and right answers as what was lost: below 0 they rose" if drops else ""
    return (
        "Above its bound a check fails. "
        f"Losses are in {units}; vs another model as the change: below 0 is a gain{lost}. "
        "Best: the best generation so far on that slice. Worst tenth: the loss that a tenth of the text exceeds."
    )


def _adapters(facts: GenerationsAnswer) -> dict[int, list[int]]:
    """The generations that are adapters, by what they lie on."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for line in facts["generations"]:
        # A daemon of an earlier version does not say so.
        if (ground := line.get("lies_on")) is not None:
            found[ground].append(line["number"])
    return dict(found)


def print_generations(facts: GenerationsAnswer, *, now: float | None = None) -> None:
    """The generations and R."""
    moment = time.time() if now is None else now
    rows = table("generation", "state", "parent", "round", "made", "digest", fixed=("generation", "digest"))
    for line in facts["generations"]:
        serves = line["number"] == facts["serving"]
        rows.add_row(
            f"{line['number']} ← serves" if serves else str(line["number"]),
            state_text(line["state"]),
            "base" if line["parent"] is None else str(line["parent"]),
            "" if line["round"] is None else str(line["round"]),
            f"{ago(moment - line['created_at'])} ago",
            line["digest"][:12],
        )
    console.print(rows if facts["generations"] else "No generations yet.")
    for ground, adapters in _adapters(facts).items():
        console.print(f"Adapters on generation {ground}: {', '.join(map(str, adapters))}.")
    for kind, meaning in ERASED.items():
        if numbers := [str(line["number"]) for line in facts["generations"] if line.get("erased_text") == kind]:
            console.print(f"{meaning.capitalize()}: {', '.join(numbers)}.", style="yellow")
    answers = [row for row in facts["scores"] if row.get("accuracy") is not None]
    if facts["scores"]:
        _print_scores(facts)
    if served := [row for row in answers if row["generation"] == facts["serving"]]:
        console.print(_answers(served))
    # A daemon of an earlier version tells of none.
    if skills := facts.get("skills"):
        console.print(_skills(skills, facts["serving"]))
        if not all(row["comparable"] for row in skills):
            console.print("* of other prompts than what serves was asked, or taken in another way: not comparable.")


def _print_scores(facts: GenerationsAnswer) -> None:
    console.print(heat_table(facts, width=console.width))
    for sentence in legend(facts):
        console.print(Text(sentence))
    # A daemon of an earlier version does not say.
    if known := facts.get("knowledge"):
        console.print(_measures(known))


def _measures(known: KnowledgeStanding) -> str:
    """What the serving generation knows, in a line."""
    forgotten, transferred = known["forgetting"], known["backward_transfer"]
    figures = {
        "forgetting": None if forgotten is None else forgotten["figure"],
        "backward transfer": None if transferred is None else transferred["figure"],
        "forward transfer": known["forward_transfer"],
        "plasticity": known["plasticity"],
    }
    told = [f"{name} {number_text(figure)}" for name, figure in figures.items() if figure is not None]
    return f"What serves: {', '.join(told)}." if told else "What serves cannot be compared with an earlier one yet."


def _skills(rows: Sequence[SkillLine], serving: int | None) -> Table:
    """The share of each skill's prompts that each generation answers rightly."""
    names = sorted({row["skill"] for row in rows})
    shares = {(row["generation"], row["skill"]): row for row in rows}
    made = table("right answers", *map(escape, names), fixed=("right answers",))
    for generation in sorted({generation for generation, _ in shares}):
        cells = (_share_right(shares.get((generation, name))) for name in names)
        made.add_row(f"{generation}{' ←' if generation == serving else ''}", *cells)
    return made


def _share_right(row: SkillLine | None) -> Text:
    if row is None:
        return Text("·", "dim")
    share = f"{row['right']:.1%} of {row['prompts']:,}"
    return Text(share) if row["comparable"] else Text(f"{share}*", "dim")


def _answers(scores: Sequence[ScoreLine]) -> Table:
    """How a classifier's serving generation answers on each slice."""
    rows = table("slice", "documents", "accuracy", "macro-F1", fixed=("documents", "accuracy", "macro-F1"))
    for row in scores:
        rows.add_row(
            escape(row["slice"]),
            f"{row['documents']:,}",
            number_text(row["accuracy"]),
            number_text(row["macro_f1"]),
        )
    return rows


def names_explained(names: Iterable[str]) -> list[str]:
    """What the names of slices say, by one of them: a line; none where there are only sources' own words."""
    for name in names:
        first, dash, last = rounds_of(name).partition("-")
        if name != ANCHOR and dash:
            of = f"round {first}" if first == last else f"rounds {first} to {last}"
            return [f"{inline(name)}: held-out text of {inline(source_of(name))} that arrived in time for {of}."]
    return []
