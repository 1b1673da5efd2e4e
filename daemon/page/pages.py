"""The table of pages: each once, with where it is, what it asks the control for, and what shows the same elsewhere."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from daemon.control.answers.peeked import PeekAnswer
from daemon.control.answers.rounds import GenerationsAnswer
from daemon.control.answers.traces import TraceAnswer
from daemon.control.arguments import (
    KAFKA_TOPIC,
    AsideTextPage,
    DeadLettersPage,
    FlipsPage,
    LatestHours,
    NewestFirst,
    OfComparison,
    OfDeadLetter,
    OfGeneration,
    OfRound,
    TwoGenerations,
)
from daemon.errors import BadRequest, DaemonError, UnknownThing
from daemon.page.addresses import PEEK, TRACE
from daemon.page.page_arguments import ComparePage, PeekPage, TracePage
from daemon.page.page_lines import PageAsked, PageLine, as_command
from daemon.page.views.audit import audit_view
from daemon.page.views.comparisons import compare_form, comparison_view
from daemon.page.views.flips import flips_view
from daemon.page.views.generation_diffs import diff_view, generation_view
from daemon.page.views.generations import generations_view
from daemon.page.views.knowledge import knowledge_view
from daemon.page.views.memory import memory_view
from daemon.page.views.needs import held_text_view, needs_view
from daemon.page.views.now import LATEST, now_view
from daemon.page.views.peek import PeekView, nothing_peeked, peek_view
from daemon.page.views.records import dead_letter_row, dead_letters_view
from daemon.page.views.round import round_view
from daemon.page.views.rounds import rounds_view
from daemon.page.views.serving import serving_view
from daemon.page.views.streams import streams_view
from daemon.page.views.trace import TraceView, nothing_traced, trace_view
from memory.errors import StoreError

HELD_SHOWN: Final = 10
"""Rounds whose verdict is looked up for what they set aside."""


def _now(asked: PageAsked) -> object:
    try:
        return now_view(asked.status, asked.control.rounds(limit=LATEST))
    except StoreError:
        # When the database cannot be read people look here first: the status answers without, and says so.
        return now_view(asked.status, None)


def _rounds(asked: PageAsked) -> object:
    limit = asked.call["limit"]
    return rounds_view(asked.control.rounds(limit=limit, before=asked.call["before"]), limit)


def _needs(asked: PageAsked) -> object:
    control, aside = asked.control, asked.control.aside()
    # Those that wait, and the latest: of a long list nobody reads every verdict.
    numbers = {*asked.status["waiting"], *(group["round"] for group in aside[-HELD_SHOWN:])}
    rounds = {}
    for number in numbers:
        with suppress(UnknownThing):
            rounds[number] = control.round(number)
    return needs_view(asked.status, aside, rounds, control.memory())


def _held_text(asked: PageAsked) -> object:
    call = asked.call
    answer = asked.control.aside_text(
        call["number"], limit=call["limit"], after=call["after"], worst=call["worst"], text=call["text"]
    )
    waits = call["number"] in asked.status["waiting"]
    return held_text_view(answer, waits=waits, text=call["text"], worst=call["worst"])


def _round(asked: PageAsked) -> object:
    number = asked.call["number"]
    samples = asked.control.round_samples(number, limit=1)
    latest = asked.control.rounds(limit=1)[0]["number"]
    explained = asked.control.explain_round(number)
    return round_view(asked.control.round(number), samples, explained, asked.status["round"], latest)


def _flips(asked: PageAsked) -> object:
    number, limit, text = (asked.call[name] for name in ("number", "limit", "text"))
    return flips_view(asked.control.flips(number, limit=limit, text=text), limit=limit, text=text)


class _Drawn:
    """What was last made of an answer: the control gives the same one until the ledger stands otherwise."""

    def __init__(self, view: Callable[[GenerationsAnswer], object]) -> None:
        self._view = view
        self._last: tuple[GenerationsAnswer, object] | None = None

    def __call__(self, asked: PageAsked) -> object:
        answer, last = asked.control.generations(), self._last
        if last is None or last[0] is not answer:
            last = self._last = answer, self._view(answer)
        return last[1]


def _dead_letters(asked: PageAsked) -> object:
    control, call = asked.control, asked.call
    letters = control.dead_letters(limit=call["limit"], before=call["before"], text=call["text"])
    return dead_letters_view(letters, control.memory(), limit=call["limit"], text=call["text"])


def _dead_letter(asked: PageAsked) -> object:
    return dead_letter_row(asked.control.dead_letter(asked.call["number"], text=asked.call["text"]))


def _of_dead_letter(call: Mapping[str, Any]) -> str:
    """What shows one of them: with its record, or without as the list does."""
    shown = "riverkeep memory dead-letters"
    return f"{shown} --show {call['number']}" if call["text"] else f"{shown} --before {call['number'] + 1} --limit 1"


def _streams(asked: PageAsked) -> object:
    return streams_view(asked.control.streams(), asked.control.memory())


def _peeked(asked: PageAsked) -> PeekAnswer:
    call = asked.call
    if call["topic"] is None:
        raise BadRequest("Name the topic: `topic`, and where there are several and an offset is named, `partition`.")
    place = {name: call[name] for name in ("number", "offset", "count", "text")}
    return asked.control.peek(call["topic"], **place)


def _peek(asked: PageAsked) -> PeekView:
    # Files and others have partitions too, of names that no topic may have.
    read = {line["topic"] for line in asked.control.streams()["partitions"]}
    topics = sorted(name for name in read if re.fullmatch(KAFKA_TOPIC, name))
    if asked.call["topic"] is None:
        return nothing_peeked(asked.call, topics)
    try:
        return peek_view(asked.call, _peeked(asked), topics)
    except DaemonError as error:
        # Beside the form, so that another place is named at once.
        return nothing_peeked(asked.call, topics, str(error), error.http_status)


def _serving(asked: PageAsked) -> object:
    hours = asked.call["hours"]
    return serving_view(asked.control.serving(), asked.control.latency(hours=hours), hours)


def _memory(asked: PageAsked) -> object:
    memory = asked.control.memory()
    try:
        return memory_view(asked.status, memory, asked.control.next_draw(), "")
    except DaemonError as error:
        return memory_view(asked.status, memory, None, str(error))


def _traced(asked: PageAsked) -> TraceAnswer:
    control, call = asked.control, asked.call
    if call["topic"] is not None:
        return control.trace(call["topic"], call["partition"], call["offset"], text=call["text"])
    if call["key"] is not None:
        return control.trace_key(call["key"], text=call["text"], limit=call["limit"], after=call["after"])
    return {"records": [], "next": None, "erasures": []}


def _trace(asked: PageAsked) -> TraceView:
    if asked.call["topic"] is None and asked.call["key"] is None:
        return TraceView()
    try:
        return trace_view(asked.call, _traced(asked))
    except DaemonError as error:
        # Beside the form, so that another is asked for at once.
        return nothing_traced(asked.call, str(error), error.http_status)


def _audit(asked: PageAsked) -> object:
    limit = asked.call["limit"]
    return audit_view(asked.control.audit(limit=limit, before=asked.call["before"]), limit)


def _compare(asked: PageAsked) -> object:
    fields = {name: str(number) for name, number in asked.call.items() if number is not None}
    return compare_form(asked.control.generations(), asked.control.picks(), fields)


TRACE_LINE: Final = PageLine(TRACE, TRACE, "trace.html", "Trace", _trace, TracePage, answer=_traced)

PAGES: Final = (
    PageLine(
        "/",
        "/",
        "now.html",
        "Now",
        _now,
        operation="status",
        command="riverkeep status",
        besides=(f"riverkeep round list --limit {LATEST}",),
        is_live=True,
    ),
    PageLine(
        "/needs",
        "/needs",
        "needs.html",
        "Needs you",
        _needs,
        operation="aside",
        command="riverkeep memory aside",
        besides=("riverkeep status",),
        is_live=True,
    ),
    PageLine(
        "/aside/{number}",
        "/needs",
        "held_text.html",
        "Set aside by round {number}",
        _held_text,
        AsideTextPage,
        operation="aside_text",
        command=as_command(
            "riverkeep memory aside {number}",
            AsideTextPage,
            text="--text|--masked",
            worst="--worst",
            after="--after",
            limit="--limit",
        ),
    ),
    PageLine(
        "/rounds",
        "/rounds",
        "rounds.html",
        "Rounds",
        _rounds,
        NewestFirst,
        operation="rounds",
        command=as_command("riverkeep round list", NewestFirst, before="--before", limit="--limit"),
        is_live=True,
    ),
    PageLine(
        "/rounds/{number}",
        "/rounds",
        "round.html",
        "Round {number}",
        _round,
        OfRound,
        operation="round",
        command="riverkeep round show {number}",
        besides=("riverkeep explain round {number}",),
        is_live=True,
    ),
    PageLine(
        "/rounds/{number}/flips",
        "/knowledge",
        "flips.html",
        "What flipped in round {number}",
        _flips,
        FlipsPage,
        operation="flips",
        command=as_command("riverkeep round flips {number}", FlipsPage, text="--text", limit="--limit"),
    ),
    PageLine(
        "/knowledge",
        "/knowledge",
        "knowledge.html",
        "Knowledge",
        _Drawn(knowledge_view),
        operation="generations",
        command="riverkeep generations",
        is_live=True,
    ),
    PageLine(
        "/generations",
        "/generations",
        "generations.html",
        "Generations",
        _Drawn(generations_view),
        operation="generations",
        command="riverkeep generations",
        is_live=True,
    ),
    PageLine(
        "/generations/{number}",
        "/generations",
        "generation.html",
        "Generation {number}",
        lambda asked: generation_view(
            asked.control.generation(asked.call["number"]), asked.status["serving"]["generation"]
        ),
        OfGeneration,
        operation="generation",
        command="riverkeep generations --show {number}",
    ),
    PageLine(
        "/generations/{number}/diff/{other}",
        "/generations",
        "generation_diff.html",
        "Generation {number} beside {other}",
        lambda asked: diff_view(asked.control.diff_generations(asked.call["number"], asked.call["other"])),
        TwoGenerations,
        operation="diff_generations",
        command="riverkeep generations --diff {number} {other}",
    ),
    PageLine(
        "/comparisons",
        "/generations",
        "compare.html",
        "Two generations on one prompt",
        _compare,
        ComparePage,
        operation="picks",
        command="riverkeep compare picks",
    ),
    PageLine(
        "/comparisons/{number}",
        "/generations",
        "comparison.html",
        "Comparison {number}",
        lambda asked: comparison_view(asked.control.comparison(asked.call["number"])),
        OfComparison,
        operation="comparison",
    ),
    PageLine(
        "/streams",
        "/streams",
        "streams.html",
        "Streams",
        _streams,
        operation="streams",
        command="riverkeep streams",
        besides=("riverkeep memory",),
        is_live=True,
    ),
    PageLine(PEEK, "/streams", "peek.html", "Look at records", _peek, PeekPage, answer=_peeked),
    PageLine(
        "/memory",
        "/memory",
        "memory.html",
        "Memory",
        _memory,
        operation="memory",
        command="riverkeep memory",
        besides=("riverkeep memory next-draw",),
    ),
    PageLine(
        "/dead-letters",
        "/dead-letters",
        "dead_letters.html",
        "Dead letters",
        _dead_letters,
        DeadLettersPage,
        operation="dead_letters",
        command=as_command(
            "riverkeep memory dead-letters", DeadLettersPage, text="--text", before="--before", limit="--limit"
        ),
        besides=("riverkeep memory",),
    ),
    PageLine(
        "/dead-letters/{number}",
        "/dead-letters",
        "dead_letter.html",
        "Dead letter {number}",
        _dead_letter,
        OfDeadLetter,
        operation="dead_letter",
        command=_of_dead_letter,
    ),
    PageLine(
        "/serving",
        "/serving",
        "serving.html",
        "Serving",
        _serving,
        LatestHours,
        operation="serving",
        command=as_command("riverkeep serving", LatestHours, hours="--hours"),
        is_live=True,
    ),
    TRACE_LINE,
    PageLine(
        "/audit",
        "/audit",
        "audit.html",
        "Audit log",
        _audit,
        NewestFirst,
        operation="audit",
        command=as_command("riverkeep audit", NewestFirst, before="--before", limit="--limit"),
    ),
)
