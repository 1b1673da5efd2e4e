"""What a real browser shows of each page beside what the operations answer: figure by figure, in one table."""

import re
from collections.abc import Callable
from typing import Final

import pytest
from playwright.sync_api import Page, expect

from daemon.control.within_daemon import LiveControl
from memory.samples.slice_names import first_round
from tests.browser.conftest import Watched
from tests.browser.story import Story
from tests.unit.daemon.page.test_streams import peeked

Texts = list[list[str]]


def cells(page: Page, rows: str, *columns: int) -> Texts:
    """The text of these cells of each row, heads of rows among them; as it would be typed."""
    found = []
    for row in page.locator(rows).all():
        texts = row.locator("> th, > td").all_text_contents()
        found.append([_typed(texts[column]) for column in columns])
    return found


def lines(page: Page, selector: str) -> Texts:
    """The text of each element."""
    return [[_typed(text)] for text in page.locator(selector).all_text_contents()]


def _typed(text: str) -> str:
    return " ".join(text.replace("−", "-").split())


def count(number: int | None) -> str:
    """A number as pages write it."""
    return "–" if number is None else f"{number:,}"


def figure(value: float | None) -> str:
    """A figure as pages write it."""
    return "–" if value is None else f"{value:.3f}".replace("-0.000", "0.000")


def measures(control: LiveControl) -> Texts:
    """Of what serves."""
    known = control.generations()["knowledge"]
    transferred = (known["forgetting"], known["backward_transfer"])
    figures = [None if each is None else each["figure"] for each in transferred]
    return [[figure(each)] for each in (*figures, known["forward_transfer"], known["plasticity"])]


def matrix(control: LiveControl) -> Texts:
    """R: the newest twenty generations that were scored, on the anchor and the newest slices."""
    answer = control.generations()
    losses = {(row["generation"], row["slice"]): f"{row['mean_nll']:.2f}" for row in answer["scores"]}
    scored = sorted({generation for generation, _ in losses})[-20:]
    newest = sorted(answer["slices"][1:], key=first_round, reverse=True)[:23]
    shown = [name for name in answer["slices"] if name == answer["slices"][0] or name in newest]
    return [[losses.get((number, name), "·") for name in shown] for number in scored]


def heat(page: Page) -> Texts:
    """R as it is drawn: without the words for who sees no colours."""
    rows = page.locator("#heat tbody tr")
    return [
        [_typed(text).split(" ")[0] for text in row.locator("td:not(.margin)").all_text_contents()]
        for row in rows.all()
    ]


def judged(control: LiveControl) -> Texts:
    """What the gate found of each round."""
    answer = control.generations()
    learned = {line["round"]: line for line in answer["learned"]}
    rows = []
    for each in answer["judged"]:
        diagonal = learned.get(each["round"])
        means = ["–", "–"] if diagonal is None else [figure(diagonal["after"]), figure(diagonal["plasticity"])]
        limits = f"{figure(each['learned_lower'])} … {figure(each['learned_upper'])}"
        rows.append(
            [
                str(each["round"]),
                figure(each["forgotten"]),
                f"{figure(each['lower'])} … {figure(each['upper'])}",
                figure(each["bound"]),
                figure(each["learned"]),
                limits,
                figure(each["learned_bound"]),
                *means,
            ]
        )
    return rows


def tree(control: LiveControl) -> Texts:
    """Generations, the newest first: number, parent, round, digest, and the first range of what each learned."""
    answer = control.generations()
    offsets = {attempt["round"]: attempt["offsets"] for attempt in answer["attempts"]}
    rows = []
    for line in sorted(answer["generations"], key=lambda line: -line["number"]):
        number = -1 if line["round"] is None else line["round"]
        name, (first, last) = next(iter(offsets.get(number, {"": [0, 0]}).items()))
        learned = f"{name}: {first:,} to {last:,}" if name else ""
        parent = "base" if line["parent"] is None else str(line["parent"])
        rows.append([str(line["number"]), parent, str(line["round"] or ""), line["digest"][:12], learned])
    return rows


def drawn_tree(page: Page) -> Texts:
    """The same of the page; of what it learned the first range, of a parent its number."""
    found = cells(page, "#tree tbody tr:not(.attempt)", 1, 3, 4, 7, 6)
    spans = [
        _typed(row.locator("> td").nth(5).locator(".block").first.text_content() or "")
        if row.locator("> td").nth(5).locator(".block").count()
        else ""
        for row in page.locator("#tree tbody tr:not(.attempt)").all()
    ]
    return [
        [number, parent.split(" ")[0], round_, digest, span]
        for (number, parent, round_, digest, _), span in zip(found, spans, strict=True)
    ]


def made_none(control: LiveControl) -> Texts:
    """Rounds that made no generation: number, where each began, how it ended."""
    return [
        [str(each["round"]), str(each["parent"]), each["state"]]
        for each in control.generations()["attempts"]
        if each["generation"] is None and each["state"] not in ("abandoned", "drawn")
    ]


def attempts(page: Page) -> Texts:
    """The same of the page, without the words for who sees no dots."""
    return [
        [round_, parent, words.rpartition(": ")[2]]
        for round_, parent, words in cells(page, "#tree tbody tr.attempt", 4, 3, 2)
    ]


def partitions(control: LiveControl) -> Texts:
    """Each with how far behind it is, the next offset, and what never came; in any order."""
    return sorted(
        [
            f"{line['topic']}/{line['partition']}",
            count(line["lag"]),
            count(line["next_offset"]),
            count(line["gap_offsets"]),
        ]
        for line in control.streams()["partitions"]
    )


def sources(control: LiveControl) -> Texts:
    """Samples by source and role, and tokens; in any order."""
    rows: dict[str, dict[str, int]] = {}
    for line in control.memory()["kept"]:
        of = rows.setdefault(line["source"], dict.fromkeys(("fresh", "replay", "holdout", "aside", "tokens"), 0))
        of[line["role"]] += line["samples"]
        of["tokens"] += line["tokens"]
    return sorted([source, *map(count, of.values())] for source, of in rows.items())


def ages(control: LiveControl) -> Texts:
    """Samples by age, role and source."""
    return [[row["source"], count(row["samples"]), count(row["tokens"])] for row in control.memory()["ages"]]


def draw(control: LiveControl) -> Texts:
    """What a round would be given."""
    answer = control.next_draw()
    parts = [[row["source"], count(row["samples"]), count(row["tokens"])] for row in answer["parts"]]
    return parts + [[row["source"] or "of all", count(row["documents"]), "–"] for row in answer["slices"]]


def slots(control: LiveControl) -> Texts:
    """What was asked minute by minute, in the minutes in which anything was."""
    return [
        [count(slot["measured"]), count(slot["failed"]), count(slot["refused"])]
        for slot in control.latency()["slots"]
        if slot["measured"]
    ]


def asked(page: Page) -> Texts:
    """The same of the page, without rows for swaps alone."""
    return [row for row in cells(page, "#latency tbody tr", 3, 4, 5) if row[0] != "0"]


def swaps(control: LiveControl) -> Texts:
    """What served when."""
    return [
        [
            f"generation {line['generation']}",
            "–" if line["before"] is None else f"generation {line['before']}",
            line["who"],
        ]
        for line in control.serving()["swaps"]
    ]


def swapped(page: Page) -> Texts:
    """The same of the page."""
    return [
        [" ".join(what.split(" ")[:2]), before, who] for what, before, who in cells(page, "#swaps tbody tr", 1, 2, 3)
    ]


def held(control: LiveControl) -> Texts:
    """What waits or is set aside, the latest first of those that wait: of each how much."""
    waiting = control.status()["waiting"]
    groups = sorted(control.aside(), key=lambda each: (each["round"] not in waiting, -each["round"]))
    return [
        [
            str(each["round"]),
            f"{each['samples']:,} samples to train on (about {each['tokens']:,} tokens), {each['held_out']:,} held out",
        ]
        for each in groups
    ]


def cards(page: Page) -> Texts:
    """The same of the page."""
    heads = [re.sub(r"\D", "", text) for text in page.locator("#aside article h2").all_text_contents()]
    texts = [
        _typed(text).partition(" ·")[0]
        for text in page.locator("#aside article dl dd:nth-of-type(1)").all_text_contents()
    ]
    return [[head, text] for head, text in zip(heads, texts[1::2], strict=True)]


Shown = Callable[[Page], Texts]
FIGURES: Final[tuple[tuple[str, Shown, Callable[[LiveControl], Texts]], ...]] = (
    ("/knowledge", lambda page: lines(page, "#measures dd strong"), measures),
    ("/knowledge", heat, matrix),
    ("/knowledge", lambda page: cells(page, "#figures tbody tr", 0, 2, 3, 4, 5, 6, 7, 8, 9), judged),
    ("/generations", drawn_tree, tree),
    ("/generations", attempts, made_none),
    ("/streams", lambda page: sorted(cells(page, "#partitions tbody tr", 0, 1, 4, 5)), partitions),
    ("/streams", lambda page: sorted(cells(page, "#kept tbody tr", 0, 1, 2, 3, 4, 5)), sources),
    ("/memory", lambda page: sorted(cells(page, "#kept tbody tr", 0, 1, 2, 3, 4, 5)), sources),
    ("/memory", lambda page: cells(page, "#ages .scroll tbody tr", 2, 3, 4), ages),
    ("/memory", lambda page: cells(page, "#draw tbody tr", 1, 2, 3), draw),
    ("/serving", asked, slots),
    ("/serving", swapped, swaps),
    (
        "/dead-letters",
        lambda page: lines(page, ".documents .meta > a:first-child"),
        lambda control: [[str(letter["id"])] for letter in control.dead_letters()],
    ),
    (
        "/dead-letters",
        lambda page: lines(page, ".facts dd"),
        lambda control: [[count(number)] for number in control.memory()["dead_letter_reasons"].values()],
    ),
    (
        "/audit",
        lambda page: [row[:2] for row in cells(page, "tbody tr", 0, 2)],
        lambda control: [[str(line["id"]), line["who"]] for line in control.audit()],
    ),
    ("/needs", cards, held),
)


@pytest.mark.parametrize(
    ("path", "shown", "answered"), FIGURES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_figures_are_those_of_the_operation(
    watched: Watched, control: LiveControl, path: str, shown: Shown, answered: Callable[[LiveControl], Texts]
) -> None:
    """Each that there is, where it belongs; none of them without any."""
    found = shown(watched.open(path))
    assert found
    assert found == answered(control)


def test_records_are_those_that_the_broker_gave(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """Place, size and what each would be; the broker is a stand-in."""
    answer = peeked()
    monkeypatch.setattr(LiveControl, "peek", lambda *_, **__: answer)
    page = watched.open("/streams/peek?topic=news")
    heads = page.locator(".documents .meta").all_text_contents()
    assert len(heads) == len(answer["records"])
    for head, record in zip(heads, answer["records"], strict=True):
        for words in (
            f"{record['topic']}/{record['partition']} at {record['offset']}",
            f"{record['value_bytes']:,} byte",
            record["becomes"].replace("_", " "),
        ):
            assert words in _typed(head)


def test_charts_and_r_follow_what_happens(watched: Watched, service: tuple[str, Story], control: LiveControl) -> None:
    """The page that was open becomes what it would be anew, and says then that it is of now."""
    told = service[1]
    page = watched.open("/knowledge")
    with page.expect_response(lambda response: "/live?since=" in response.url):
        page.reload()
    serving = told.rooms.store.generations.serving()
    assert serving is not None
    parent = told.rooms.store.generations.read(serving).parent
    marks = page.locator("#rounds circle").count()
    told.rooms.store.generations.rollback(parent, by="a test")
    try:
        expect(page.locator("#heat tr.serves th")).to_contain_text(f"{parent} serves", timeout=20_000)
        expect(page.locator("h1")).to_contain_text(f"generation {parent}")
        expect(page.locator("#measures dd strong")).to_have_text([text for (text,) in _written(measures(control))])
        assert page.locator("#rounds circle").count() != marks
    finally:
        told.rooms.store.generations.rollback(serving, by="a test")


def _written(texts: Texts) -> Texts:
    return [[text.replace("-", "−") for text in row] for row in texts]
