"""What a person sees."""

import io
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from daemon.cli.render import findings, generations, people, rounds, status
from daemon.cli.render import kept as render_kept
from daemon.cli.render.generations import heat_table
from daemon.control.facts.status import micro_batch
from daemon.control.score_cells import cells
from daemon.doctor.findings import Finding
from daemon.rounds.kept.kept_round import KeptRound
from daemon.rounds.out_of_memory import MemoryLimit
from daemon.span import span
from memory.ledger.records import TooLarge
from streams.document import Pause
from tests.harness import Facts
from tests.unit.daemon.cli.render.screens import show_on
from tests.unit.daemon.fakes import FakeControl

NOW = 1_000_000.0


@pytest.fixture(autouse=True)
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is printed, in 100 columns without colours."""
    written = io.StringIO()
    show_on(Console(file=written, width=100), monkeypatch)
    return written


def row(generation: int, name: str, loss: float) -> Facts:
    """An entry of R."""
    return {"generation": generation, "slice": name, "mean_nll": loss}


R: Facts = {
    "serving": 1,
    "generations": [{"number": 0, "parent": None}, {"number": 1, "parent": 0}],
    "slices": ["anchor", "news@1-1"],
    "scores": [row(0, "anchor", 3.0), row(1, "anchor", 3.2), row(0, "news@1-1", 4.0), row(1, "news@1-1", 3.5)],
}


def test_status_shows_a_running_daemon(screen: io.StringIO) -> None:
    """Generation, address, what the next round waits for, parts."""
    status.print_status(FakeControl().status() | {"started_at": NOW - 7_200}, now=NOW)
    for words in ("running for 2 h", "generation 2 at http://127.0.0.1:1", "waiting for somebody", "✓ ingest"):
        assert words in screen.getvalue()


def test_status_shows_a_round_in_progress_and_the_last(screen: io.StringIO) -> None:
    """Step of steps, and what came of the one before."""
    facts = FakeControl().status() | {
        "round": {"number": 8, "phase": "train", "step": 3, "steps": 9, "begun_at": NOW - 60}
        | {"work": {"done": 96, "of": 540, "unit": "sequences", "seconds_left": 130.0}}
        | {"reason": "1417 samples are fresh, 1000 begin a round", "fresh_samples": 1_352, "early_stop_samples": 65},
        "last_round": {"number": 7, "state": "refused", "detail": "forgot too much", "ended_at": NOW - 600},
        "waiting": [6],
        "rounds_paused": {"since": NOW - 7_200, "reason": "r"},
    }
    status.print_status(facts, now=NOW)
    decide = "read it with `riverkeep memory aside 6 --text`, then `riverkeep round approve 6` or `riverkeep round"
    shown = " ".join(screen.getvalue().split())
    began = "1417 samples are fresh, 1000 begin a round; drew 1,352 fresh samples to train on and 65 more to tell when"
    for words in (
        "8: train, step 3 of 9, 96 of 540 sequences, about 2 min left; begun 1 min ago",
        "7 refused 10 min ago. forgot too much",
        decide,
        began,
    ):
        assert words in shown


def test_a_round_that_its_budget_ended_shows_tokens_trained_of_drawn(screen: io.StringIO) -> None:
    """In the status, in the list and by itself."""
    one = round_line(3, "accepted") | {"tokens_trained": 12_288, "tokens_drawn": 512_000}
    in_full = {"verdict": {}, "parent": 2, "fresh_tokens": 9, "replay_tokens": 9}
    status.print_status(FakeControl().status() | {"last_round": one}, now=NOW)
    rounds.print_round(one | in_full)
    rounds.print_rounds([one], now=NOW)
    shown = " ".join(screen.getvalue().split())
    assert shown.count("Trained on 12,288 of 512,000 new tokens (2.4%); the rest stays fresh.") == 3


def test_status_tells_of_a_smaller_micro_batch_and_what_to_do(screen: io.StringIO) -> None:
    """In the sentence that the log has too."""
    noted = TooLarge("{}", 8, 1, certain=True, round=12, at=NOW)
    told = micro_batch(MemoryLimit(4, 16, noted))
    status.print_status(FakeControl().status() | {"micro_batch": told}, now=NOW)
    shown = " ".join(screen.getvalue().split())
    assert "round 12 ran out of memory with 8 sequences in a pass: rounds begin with 4 of the 16 that are set" in shown
    assert "Set `learner.recipe.micro_batch = 4` to leave it so" in shown


def test_what_a_setting_left_out_of_a_round_is_told_with_its_name(screen: io.StringIO) -> None:
    """In the status and by itself; and which setting ended its training."""
    left = [
        {"what": "fresh", "documents": 1_200, "setting": "memory.round_tokens"},
        {"what": "holdout", "documents": 300, "setting": "memory.evaluation_documents"},
    ]
    one = round_line(3, "accepted") | {"tokens_trained": 1, "tokens_drawn": 2, "left_out": left}
    one |= {"trained_until": "learner.recipe.max_steps"}
    status.print_status(FakeControl().status() | {"last_round": one}, now=NOW)
    rounds.print_round(one | {"verdict": {}, "parent": 2, "fresh_tokens": 9, "replay_tokens": 9})
    shown = " ".join(screen.getvalue().split())
    assert shown.count("Left out: 1,200 fresh samples, which wait for the next round (`memory.round_tokens`); 300") == 2
    assert shown.count("held-out documents, on which it is not judged (`memory.evaluation_documents`).") == 2
    assert shown.count("(50.0%) within `learner.recipe.max_steps`; the rest stays fresh.") == 2


def test_status_shows_what_there_is_to_judge_by_of_how_much(screen: io.StringIO) -> None:
    """So that nobody has to guess for what a round waits."""
    needs = [{"what": "anchor", "found": 12, "needed": 20}, {"what": "newest", "found": 1_024, "needed": 40}]
    status.print_status(FakeControl().status() | {"evidence": needs}, now=NOW)
    shown = " ".join(screen.getvalue().split())
    assert "to judge by 12 held-out documents of the anchor (20 are needed), 1,024 held-out documents of new" in shown


def test_what_is_kept_to_be_judged_again_is_told(screen: io.StringIO) -> None:
    """By the status and by the round itself; a round that judged says what."""
    kept = KeptRound(number=3, trained_in=3, look=2, documents=72, parent=2, recipe={}).sentence(newest=60)
    status.print_status(FakeControl().status() | {"kept": kept}, now=NOW)
    facts = {"verdict": {}, "parent": 2, "fresh_tokens": 9, "replay_tokens": 9}
    rounds.print_round(round_line(3, "refused") | facts | {"kept": kept})
    rounds.print_round(round_line(4, "accepted") | facts | {"trained_in": 3, "kept": ""})
    shown = " ".join(screen.getvalue().split())
    assert "kept what round 3 trained is kept, and judged again when 12 more held-out documents" in shown
    assert (
        "What round 3 trained is kept, and judged again when 12 more held-out documents of new text have come" in shown
    )
    assert shown.count("It trained nothing: it judged again, on text drawn anew, what round 3 had trained.") == 1


def test_labels_that_wait_are_told_with_what_to_do(screen: io.StringIO) -> None:
    """Nothing in a name from outside is markup, or moves the cursor."""
    waiting = [
        {"label": "[red]frost\x1b", "documents": 1_200, "detail": "the next round learns it"},
        {"label": "hail", "documents": 1, "detail": "dead letters: add it to the end of `model.labels`"},
    ]
    status.print_status(FakeControl().status() | {"waiting_labels": waiting}, now=NOW)
    shown = " ".join(screen.getvalue().split())
    assert "label waits '[red]frost\\x1b': 1,200 documents; the next round learns it" in shown
    assert "label waits 'hail': 1 document; dead letters: add it to the end of `model.labels`" in shown


def test_status_tells_of_a_rollback(screen: io.StringIO) -> None:
    """From which to which, how long ago, by whom."""
    told = {"from": 5, "to": 2, "at": NOW - 7_200, "by": "ops@host"}
    status.print_status(FakeControl().status() | {"rollback": told}, now=NOW)
    assert "from generation 5 to 2, 2 h ago, by ops@host" in " ".join(screen.getvalue().split())


def test_a_round_says_which_sources_had_too_few_documents_to_judge(screen: io.StringIO) -> None:
    """With how many were looked at."""
    round_ = round_line(3, "accepted") | {"parent": 2, "fresh_tokens": 9, "replay_tokens": 9}
    rounds.print_round(round_ | {"verdict": {"checks": [], "too_few": {"forum": 7}}})
    assert "plausible: forum (7)." in " ".join(screen.getvalue().split())


def test_a_round_says_what_is_new(screen: io.StringIO) -> None:
    """Labels that the parent has not learned, and sources of another kind of text."""
    round_ = round_line(3, "accepted") | {"parent": 2, "fresh_tokens": 9, "replay_tokens": 9}
    verdict = {"checks": [], "new_labels": {"chess": 4, "sports": 312}, "new_kinds": ["web"]}
    rounds.print_round(round_ | {"verdict": verdict})
    shown = " ".join(screen.getvalue().split())
    assert "on which the new text was not judged: sports (312), chess (4)." in shown
    assert "Text of another kind than what memory holds: web." in shown


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("replay_note", "7.4% of what was trained is replayed text, not 60%: there are 20 documents to replay."),
        ("compile_note", "The model's layers ran as they are, not compiled (learner.compile): no C++ compiler."),
        ("moments_note", "The optimizer's moments began anew: generation 2 has none beside it."),
        ("merge_note", "The parent's adapter has moved the weights that it changes by 0.30 of their size."),
    ],
)
def test_a_round_says_what_was_otherwise_than_wanted(screen: io.StringIO, name: str, note: str) -> None:
    """The sentence that its report has; without one there is none."""
    round_ = round_line(3, "accepted") | {"parent": 2, "fresh_tokens": 9, "replay_tokens": 9, "verdict": {}}
    rounds.print_round(round_ | {"report": {"training": {name: note}}})
    rounds.print_round(round_ | {"report": {"training": None}})
    assert " ".join(screen.getvalue().split()).count(note) == 1


def test_status_shows_what_is_wrong(screen: io.StringIO) -> None:
    """A swap that is late, serving that is gone, paused partitions, broken parts."""
    facts = FakeControl().status()
    broken = {
        "ingest": {"ok": False, "detail": "broker away"},
        "rounds": {"ok": True, "detail": "running"},
        "other": {"ok": True, "detail": "nwes cannot be read"},
    }
    status.print_status(facts | {"serving": facts["serving"] | {"answering": 1}, "parts": broken}, now=NOW)
    status.print_status(facts | {"serving": facts["serving"] | {"ok": False, "answering": None}}, now=NOW)
    status.print_status(facts | {"ingest": {"lag_records": 5, "paused": {"news/0": "flood"}, "reason": ""}}, now=NOW)
    ingest = {"lag_records": 5, "paused": {"news/0": str(Pause.DEAD_LETTER_FLOOD)}, "reason": ""}
    status.print_status(facts | {"ingest": ingest}, now=NOW)
    status.print_status(facts | {"ingest": {"lag_records": None, "paused": {}, "reason": ""}}, now=NOW)
    status.print_status(facts | {"ingest": {"lag_records": None, "paused": {}, "trouble": "no broker"}}, now=NOW)
    assert "how far behind is unknown" in screen.getvalue()
    for words in (
        "a flood of dead letters paused news/0",
        "`riverkeep memory dead-letters resume`",
        "it waits for partitions",
    ):
        assert words in screen.getvalue()
    for words in ("still answering from 1", "does not answer", "news/0 paused: flood", "✗ ingest (broker away)"):
        assert words in screen.getvalue()
    assert "✓ rounds  ✓ other (nwes cannot be read)" in screen.getvalue()


def test_status_shows_what_begins_and_what_is_not_read(screen: io.StringIO) -> None:
    """To load a model is no trouble; a topic that is missing beside others is told where reading is."""
    facts = FakeControl().status()
    loads = {"serving": {"ok": False, "detail": "it loads", "state": "starting"}}
    serving = facts["serving"] | {"ok": False, "answering": None, "starting": "the serving process loads"}
    status.print_status(facts | {"serving": serving, "parts": loads}, now=NOW)
    ingest = facts["ingest"] | {"unread": ["nwes cannot be read: there is no such topic"]}
    status.print_status(facts | {"ingest": ingest}, now=NOW)
    shown = " ".join(screen.getvalue().split())
    assert "generation 2 at http://127.0.0.1:1; starting: the serving process loads" in shown
    assert "… serving (it loads)" in shown
    assert "0 records behind; nwes cannot be read: there is no such topic" in shown


def test_status_shows_settings_that_a_reload_refused(screen: io.StringIO) -> None:
    """Which mistakes, where they are, and what is in force meanwhile."""
    mistake = {"key": "gate.x", "place": "riverkeep.toml line 3", "problem": "No setting has this name."}
    facts = FakeControl().status() | {"settings_refused": {"at": NOW - 120, "mistakes": [mistake]}}
    status.print_status(facts, now=NOW)
    shown = " ".join(screen.getvalue().split())
    assert "refused at the reload 2 min ago" in shown
    assert "gate.x (riverkeep.toml line 3): No setting has this name." in shown


def test_a_status_in_a_pipe_has_no_trailing_blanks(screen: io.StringIO) -> None:
    """Lines are as long as what they say."""
    status.print_status(FakeControl().status(), now=NOW)
    lines = screen.getvalue().splitlines()
    assert len(lines) > 3
    assert [line for line in lines if line != line.rstrip()] == []


def test_status_of_nothing_is_a_sentence(screen: io.StringIO) -> None:
    """No daemon, no store."""
    nothing: Facts = {"running": False, "state_dir": "/s", "memory": None}
    status.print_status(nothing)
    assert "no daemon runs on /s" in screen.getvalue()


def test_forgetting_is_measured_from_the_best_before() -> None:
    """Worse than the best earlier generation is a rise; the first entry has none."""
    found = cells(R)
    assert found[0, "anchor"].rise is None
    assert found[1, "anchor"].rise == pytest.approx(0.2)
    assert found[1, "news@1-1"].rise == pytest.approx(-0.5)


def test_later_gains_count_as_the_best() -> None:
    """After 3.0, 2.5, 2.8 the rise is 0.3, not minus 0.2."""
    line = [{"number": number, "parent": number - 1 if number else None} for number in range(3)]
    facts: Facts = {"serving": 2, "generations": line, "scores": [row(0, "a", 3.0), row(1, "a", 2.5), row(2, "a", 2.8)]}
    assert cells(facts)[2, "a"].rise == pytest.approx(0.3)


def test_r_says_without_colours_what_was_forgotten(screen: io.StringIO) -> None:
    """Arrows stand where colours cannot be seen."""
    line: Facts = {"state": "accepted", "round": 1, "created_at": NOW, "digest": "abc"}
    led_here = [line | {"number": 0, "parent": None}, line | {"number": 1, "parent": 0}]
    generations.print_generations(R | {"generations": led_here}, now=NOW)
    assert "news@1-1: held-out text of news that arrived in time for round 1." in screen.getvalue()
    assert "↑3.200" in screen.getvalue()
    assert "↓3.500" in screen.getvalue()
    assert "1 ← serves" in screen.getvalue()
    assert "Nats per token" in screen.getvalue()


def test_generations_that_saw_erased_text_are_named(screen: io.StringIO) -> None:
    """In their list, and in the status where one of them serves."""
    line: Facts = {"state": "accepted", "parent": 0, "round": 1, "created_at": NOW, "digest": "abc"}
    marks = {1: "trained", 2: "inherited", 3: None}
    rows = [line | {"number": number, "erased_text": mark} for number, mark in marks.items()]
    generations.print_generations(R | {"generations": rows, "scores": []}, now=NOW)
    facts = FakeControl().status()
    status.print_status(facts | {"serving": facts["serving"] | {"erased_text": "trained"}}, now=NOW)
    shown = screen.getvalue()
    assert "Trained on text that was erased since: 1." in shown
    assert "Made from one that was trained on text that was erased since: 2." in shown
    assert "generation 2 (trained on text that was erased since) at http" in shown


def test_generations_that_are_adapters_are_named_by_what_they_lie_on(screen: io.StringIO) -> None:
    """Of whole ones nothing is said."""
    line: Facts = {"state": "accepted", "parent": 0, "round": 1, "created_at": NOW, "digest": "abc"}
    rows = [line | {"number": number, "lies_on": ground} for number, ground in {1: None, 2: 1, 3: 1, 4: 0}.items()]
    generations.print_generations(R | {"generations": rows, "scores": []}, now=NOW)
    assert "Adapters on generation 1: 2, 3." in screen.getvalue()
    assert "Adapters on generation 0: 4." in screen.getvalue()


def test_a_classifiers_answers_are_shown_of_what_serves(screen: io.StringIO) -> None:
    """Accuracy and macro-F1 by slice; the generation before it is not among them."""
    before = row(0, "anchor", 1.0) | {"documents": 9, "accuracy": 0.111, "macro_f1": 0.222}
    served = row(1, "anchor", 0.5) | {"documents": 9, "accuracy": 0.875, "macro_f1": 0.625}
    facts: Facts = {"serving": 1, "generations": [], "slices": ["anchor"], "scores": [before, served]}
    generations.print_generations(facts, now=NOW)
    for words in ("macro-F1", "0.875", "0.625"):
        assert words in screen.getvalue()
    assert "0.111" not in screen.getvalue()
    assert "Nats per document" in screen.getvalue()


@given(slices=st.integers(1, 80), width=st.integers(40, 200))
def test_r_fits_the_terminal(slices: int, width: int) -> None:
    """However many slices there are: the anchor and the latest are shown, and no line is broken."""
    names = [f"source@{number}-{number}" for number in range(slices)]
    facts: Facts = {"serving": 0, "generations": [], "slices": names, "scores": [row(0, name, 3.0) for name in names]}
    table = heat_table(facts, width=width)
    headers = [str(column.header).replace("\n", "") for column in table.columns[1:]]
    assert headers == [*names[:1], *names[1:][len(names) - len(headers) :]]
    written = io.StringIO()
    Console(file=written, width=width).print(table)
    line = next(line for line in written.getvalue().splitlines() if "3.000" in line)
    assert line.count("3.000") == len(headers)


def test_r_shows_whole_names_where_there_is_room() -> None:
    """Two sources whose names end alike are two columns; in a narrow one the name goes on in the next line."""
    names = ["anchor", "news.articles@1-2", "blog.articles@1-2"]
    facts: Facts = {"serving": 0, "generations": [], "slices": names, "scores": [row(0, name, 3.0) for name in names]}
    shown = {width: io.StringIO() for width in (80, 50)}
    for width, written in shown.items():
        Console(file=written, width=width).print(heat_table(facts, width=width))
    assert all(name in shown[80].getvalue() for name in names)
    assert "news.artic" in shown[50].getvalue()
    assert shown[50].getvalue().count("@1-2") == 2
    assert "…" not in shown[50].getvalue()


def test_r_keeps_the_latest_of_every_source() -> None:
    """Whatever comes last in the alphabet: what came last in time."""
    names = ["anchor", "a@1-9", "a@10-10", "b@1-2", "b@3-9", "b@10-11"]
    facts: Facts = {"serving": 0, "generations": [], "slices": names, "scores": [row(0, name, 3.0) for name in names]}
    headers = [str(column.header) for column in heat_table(facts, width=52).columns[1:]]
    assert headers == ["anchor", "a@10-10", "b@10-11"]


def test_text_from_outside_is_not_markup(screen: io.StringIO) -> None:
    """A source or reason with brackets is shown as it is."""
    kept = [{"role": "fresh", "source": "[red]x[/red]", "label": "[/]", "samples": 1, "tokens": 2}]
    group: Facts = {
        "round": 1,
        "since": NOW,
        "samples": 1,
        "tokens": 2,
        "held_out": 0,
        "sources": ["[b]"],
        "reason": "[/x]",
    }
    letter: Facts = {
        "id": 1,
        "topic": "[t]",
        "partition": 0,
        "offset": 9,
        "reason": "not_json",
        "detail": "[/d]",
        "value_bytes": 3,
        "arrived_at": NOW,
    }
    facts: Facts = {
        "kept": kept,
        "aside": [group],
        "tallies": {"duplicates": 3, "near_duplicates": 1, "surplus": 0},
        "quarantine": {"dead_letters": 1, "bytes": 3},
        "dead_letter_reasons": {"not_json": 4},
        "holdout_shares": {"[/big]": 0.05, "small": 0.1125},
    }
    render_kept.print_memory(facts)
    render_kept.print_dead_letters([letter], total=1, now=NOW)
    for words in (
        "[red]x[/red]",
        "[/x]",
        "[/d]",
        "4 not_json",
        "Held out of new text: 5.0% of [/big], 11.2% of small.",
    ):
        assert words in screen.getvalue()
    assert "3 that were kept already, 1 that is nearly held-out text." in " ".join(screen.getvalue().split())
    assert "surplus" not in screen.getvalue()


def test_a_round_shows_its_checks(screen: io.StringIO) -> None:
    """Figure, bound and confidence of each; what could not be computed stays empty."""
    check: Facts = {
        "name": "anchor",
        "slice": "anchor",
        "figure": 0.2,
        "bound": 0.15,
        "lower": None,
        "upper": 0.3,
        "documents": 40,
        "passed": False,
    }
    text = {"name": "plausible_mean_nll", "slice": "fresh text", "lower": 2.345, "upper": 2.345, "figure": 2.345}
    told = [
        check | text,
        check,
        check | {"unit": "nats per document"},
        check | {"name": "f1_parent", "unit": "of macro-F1"},
    ]
    told.append(check | {"slice": "news@2-4"})
    facts = round_line(7, "refused") | {"verdict": {"checks": told}}
    rounds.print_round(facts)
    assert "news@2-4: held-out text of news that arrived in time for rounds 2 to 4." in screen.getvalue()
    for words in ("Round 7: refused", "0.200", "0.150", "✗", "Losses are in nats per document", "new text: mean loss"):
        assert words in screen.getvalue()
    assert screen.getvalue().count("2.345") == 1


def round_line(number: int, state: str) -> Facts:
    """A round as `daemon.control.facts` gives it."""
    return {
        "number": number,
        "state": state,
        "trigger": "volume",
        "parent": 0,
        "generation": None,
        "begun_at": NOW - 120,
        "ended_at": NOW - 60,
        "detail": "why [not]",
        "fresh_samples": 1_000,
        "fresh_tokens": 2_000,
        "replay_samples": 5,
        "replay_tokens": 6,
    }


def test_rounds_are_a_table(screen: io.StringIO) -> None:
    """One line each, with how long and why, and how much fresh text was kept apart."""
    tried = round_line(3, "abandoned") | {"outcome": "dry run: would be accepted", "early_stop_samples": 64}
    rounds.print_rounds([tried, round_line(2, "accepted"), round_line(1, "failed")], now=NOW)
    for words in ("dry run: would be accepted", "1,000 + 64", "Fresh: trained on + kept apart"):
        assert words in screen.getvalue()
    assert "abandoned" not in screen.getvalue()
    assert "1 min" in screen.getvalue()
    assert "why [not]" in screen.getvalue()


def test_an_erasure_names_generations_and_the_way_out(screen: io.StringIO) -> None:
    """Nothing is unlearned: which saw it, which did not."""
    facts: Facts = {
        "samples": 3,
        "dead_letters": 0,
        "directories": ["/s/rounds/000002"],
        "generations": [2],
        "descendants": [3],
        "clean_generation": 1,
        "lineage_from": 1,
    }
    people.print_forgotten(facts)
    for words in ("3 samples", "generations 2", "generations 3", "riverkeep rollback 1"):
        assert words in screen.getvalue()
    assert "lineage" not in screen.getvalue()


def test_an_erasure_says_where_lineage_no_longer_reaches(screen: io.StringIO) -> None:
    """It never claims that nothing saw the text where nobody can tell."""
    facts: Facts = {"samples": 0, "dead_letters": 0, "directories": [], "generations": [], "lineage_from": 7}
    people.print_forgotten(facts)
    assert "rounds before 7" in screen.getvalue()
    assert "No other generation" in screen.getvalue()


def test_findings_show_remedies_of_failures_only(screen: io.StringIO) -> None:
    """What works needs no remedy."""
    findings.print_findings([Finding("disk", True, "fine", "buy"), Finding("port", False, "taken", "free it")])  # noqa: FBT003 - as positional as the others
    assert "free it" in screen.getvalue()
    assert "buy" not in screen.getvalue()


def test_a_remedy_is_never_cut(screen: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    """However narrow the terminal is, the key to set can be read."""
    show_on(Console(file=screen, width=40), monkeypatch)
    key = "streams.security.sasl_password_file_of_a_name_without_end"
    findings.print_findings([Finding("broker", ok=False, detail="away", remedy=f"Set {key}.")])
    assert "…" not in screen.getvalue()


@pytest.mark.parametrize(
    "show", [rounds.print_rounds, render_kept.print_aside, partial(render_kept.print_dead_letters, total=0)]
)
def test_nothing_is_a_sentence(screen: io.StringIO, show: Any) -> None:
    """An empty list is said, not drawn."""
    show([])
    assert screen.getvalue().strip()
    assert "─" not in screen.getvalue()


@given(st.floats(-1e3, 1e9))
def test_a_span_of_time_is_short(seconds: float) -> None:
    """A number and a unit, never negative."""
    number, unit = span(seconds).split(" ")
    assert float(number) >= 0
    assert unit in {"s", "min", "h", "days"}
