"""Each figure that docs/measured.md prints is what a benchmark wrote, at the rounding printed."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import planted_text
from benchmarks.forgetting import rows_of
from tests.docs.measured import (
    MISSED,
    ROWS,
    TOLD,
    TOLD_BY_README,
    Row,
    is_reached,
    is_rounded,
    quoted_bars,
    rows,
    unheld,
    wrong_in_row,
    wrong_in_text,
)

ROOT = Path(__file__).parents[2]
MEASURED = (ROOT / "docs/measured.md").read_text()
RESULTS: dict[str, Any] = {
    path.stem: json.loads(path.read_text()) for path in sorted((ROOT / "benchmarks/results").glob("*.json"))
}

SMALL = """
On 2 cores, and so on.

| what | figure | must be | script |
|---|---|---|---|
| forgetting removed, 3 seeds: demo / sharper | 95 % / 96 % | ≥ 85 % | `python -m benchmarks.forgetting` |
| plasticity cost, nats per token | 0.013 / −0.008 | ≤ 0.04 | |
| p99 latency during swaps; failed; mixed (97 swaps) | 1.43; 0; 0 | ≤ 1.5; 0; 0 | `python -m benchmarks.swap` |

A round of the default recipe trains 2.5 times the tokens of naive fine-tuning and took 3.6 times
its training time (228 s against 63 s for the demo stream's four rounds). The rest ended at 3.598 nats per token over
all slices, the kept model at 3.631, naive fine-tuning at 3.989; and nothing else.
"""
MEANS = {
    "joint": {"mean_at_the_end": 3.5979, "seconds": 90.0},
    "kept": {"mean_at_the_end": 3.6311, "seconds": 228.07, "tokens": 2499.0},
    "naive": {"mean_at_the_end": 3.9890, "seconds": 62.97, "tokens": 1000.0},
}
OUTCOMES: dict[str, Any] = {"kept": {"0": {}, "1": {}, "2": {}}}
MADE_UP: dict[str, Any] = {
    "forgetting": {
        "bars": [
            {"name": "demo: share of naive forgetting that is removed", "value": 0.9508, "at_least": 0.85},
            {"name": "demo: plasticity cost, nats per token", "value": 0.0126, "at_most": 0.04},
            {"name": "sharp: share of naive forgetting that is removed", "value": 0.9599, "at_least": 0.85},
            {"name": "sharp: plasticity cost, nats per token", "value": -0.0084, "at_most": 0.04},
        ],
        "machine": {"cores": 2},
        "details": {"demo": {"means": MEANS, "outcomes": OUTCOMES}},
    },
    "swap": {
        "bars": [
            {"name": "p99 latency during swaps / without", "value": 1.4336, "at_most": 1.5},
            {"name": "failed requests", "value": 0, "at_most": 0},
            {"name": "answers that are not wholly their generation's", "value": 0, "at_most": 0},
            {"name": "swaps", "value": 97, "at_least": 10},
        ],
        "machine": {"cores": 2},
        "details": {},
    },
}


def wrong(text: str, results: dict[str, Any]) -> list[str]:
    """All that a part says and the results do not, of the sentences that it has."""
    told = [found for pattern in TOLD for found in wrong_in_text(text, pattern, results) if "any more" not in found]
    return [*told, *(found for row in rows(text) for found in wrong_in_row(row, results))]


@pytest.mark.parametrize("row", list(rows(MEASURED)), ids=lambda row: row.what.partition(",")[0])
def test_a_row_prints_what_was_measured_and_the_bars(row: Row) -> None:
    """Figures at their rounding, and the limits that the benchmark holds them to."""
    assert not wrong_in_row(row, RESULTS)


@pytest.mark.parametrize("pattern", TOLD, ids=lambda pattern: pattern.replace("\\", ""))
def test_a_sentence_prints_what_was_measured(pattern: str) -> None:
    """Also what stands in the paragraph under the table, in headings of rows and in brackets."""
    assert not wrong_in_text(MEASURED, pattern, RESULTS)


def test_no_figure_stands_there_that_nothing_measured() -> None:
    """A new sentence with a number in it is to be held to a result too."""
    assert not unheld(MEASURED)


def test_every_benchmark_is_quoted_and_every_row_names_its_script() -> None:
    """Nothing that was measured is left untold, and each script can be run."""
    quoted = {row.script for row in rows(MEASURED)}
    assert quoted == set(RESULTS)
    assert all((ROOT / "benchmarks" / f"{script}.py").is_file() for script in quoted)
    assert len(list(rows(MEASURED))) == len(ROWS)


@pytest.mark.parametrize("script", RESULTS)
def test_what_was_measured_reaches_its_bars(script: str) -> None:
    """Results that miss a bar are no evidence for it, and none is missed of which the table does not say so."""
    quoted = quoted_bars(MEASURED, RESULTS)
    for facts in RESULTS[script]["bars"]:
        assert is_reached(facts) or (script, facts["name"]) in quoted, facts


@pytest.mark.parametrize("pattern", TOLD_BY_README, ids=lambda pattern: pattern.replace("\\", ""))
def test_the_readme_says_what_real_models_took(pattern: str) -> None:
    """As it was measured, at the rounding printed."""
    shown = (ROOT / "README.md").read_text().partition("\n## Measured\n")[2].partition("\n## ")[0]
    assert not wrong_in_text(shown, pattern, RESULTS)
    # What is said of other figures is wrong, and is found to be.
    changes = {"56 s": "57 s", "2.7 GB": "2.8 GB", "288": "289", "of 17 ": "of 18 ", "and 0 ": "and 1 "}
    wrong = shown
    for printed, other in changes.items():
        wrong = wrong.replace(printed, other)
    assert wrong_in_text(wrong, pattern, RESULTS)


def test_the_readme_prints_rows_of_the_page() -> None:
    """As they stand there: it shows some of them."""
    shown = (ROOT / "README.md").read_text().partition("\n## Measured\n")[2].partition("\n## ")[0]
    printed = [line for line in shown.splitlines() if line.startswith("|")]
    assert len(printed) > 5
    assert set(printed) <= set(MEASURED.splitlines())


def test_the_readme_says_what_replay_alone_does() -> None:
    """In the page's words, whose figures are held to what was measured."""
    readme, page = (" ".join(text.split()) for text in ((ROOT / "README.md").read_text(), MEASURED))
    (sentence,) = re.findall(r"Replay alone, without the divergence, [^.]*\.\d % and \S+ % of[^.;]*", readme)
    assert sentence in page


@pytest.mark.parametrize("stream", RESULTS["forgetting"]["details"])
def test_each_way_to_learn_is_told(stream: str) -> None:
    """With its figures as they were measured."""
    log = (ROOT / "docs/learning-log.md").read_text()
    table = "\n".join(rows_of(stream, RESULTS["forgetting"]["details"][stream]["outcomes"]))
    assert table in log


def test_what_no_gate_can_see_is_told() -> None:
    """With its figures as they were measured."""
    log = (ROOT / "docs/learning-log.md").read_text()
    assert "\n".join(planted_text.rows_of(RESULTS["planted_text"]["details"])) in log


def test_ingestion_was_measured_on_apache_kafka() -> None:
    """As the row says: the embedded broker would be another comparison."""
    assert RESULTS["ingest"]["details"]["broker"] == "apache"


def test_a_part_that_says_what_was_measured_has_nothing_wrong() -> None:
    """The made-up part and its results, from which the tests below depart."""
    assert not wrong(SMALL, MADE_UP)
    assert not unheld(SMALL)


@pytest.mark.parametrize(
    ("printed", "instead"),
    [
        ("95 % /", "94 % /"),
        ("/ 96 %", "/ 95 %"),
        ("≥ 85 %", "≥ 80 %"),
        ("≥ 85 %", "≤ 85 %"),
        ("−0.008", "0.008"),
        ("≤ 0.04", "≤ 0.05"),
        ("1.43; 0; 0", "1.43; 0; 1"),
        ("1.43; 0; 0", "1.43; 0"),
        ("≤ 1.5; 0; 0", f"≤ 1.5{MISSED}; 0; 0"),
        ("≤ 1.5; 0; 0", "≤ 1.5; 0; 1"),
        ("97 swaps", "98 swaps"),
        ("3 seeds", "5 seeds"),
        ("trains 2.5", "trains 2.51"),
        ("took 3.6", "took 3.7"),
        ("228 s", "227 s"),
        ("63 s", "62 s"),
        ("3.598", "3.597"),
        ("3.631", "3.630"),
        ("3.989;", "3.988;"),
        ("On 2 cores", "On 4 cores"),
        ("plasticity cost", "price of plasticity"),
    ],
)
def test_another_figure_is_found(printed: str, instead: str) -> None:
    """In the table or in a sentence, a digit or a bound or a row that nobody measured."""
    text = SMALL.replace(printed, instead)
    assert text != SMALL
    assert wrong(text, MADE_UP)


@pytest.mark.parametrize("script", MADE_UP)
def test_another_measurement_is_found(script: str) -> None:
    """A benchmark that was run again and not carried over into the page, bar by bar."""
    for place in range(len(MADE_UP[script]["bars"])):
        again = copy.deepcopy(MADE_UP)
        again[script]["bars"][place]["value"] += 1
        assert len(wrong(SMALL, again)) == 1


def test_a_bar_that_was_missed_stands_there_as_missed() -> None:
    """And not as one that was kept."""
    missing = copy.deepcopy(MADE_UP)
    missing["swap"]["bars"][0]["value"] = 1.6336
    text = SMALL.replace("1.43; 0; 0", "1.63; 0; 0")
    assert len(wrong(text, missing)) == 1
    assert not wrong(text.replace("≤ 1.5", f"≤ 1.5{MISSED}"), missing)


def test_results_of_another_shape_say_what_to_do() -> None:
    """As when a benchmark has learned to write more since it was run."""
    old = copy.deepcopy(MADE_UP)
    del old["forgetting"]["details"]["demo"]["means"]["naive"]["tokens"]
    told = wrong(SMALL, old)
    assert len(told) == 1
    assert all("run that benchmark again" in each for each in told)


def test_a_number_that_nothing_holds_is_found() -> None:
    """Wherever it stands: in a sentence, in a row's words, in brackets."""
    assert unheld(SMALL + "It took 17 minutes.") == ["17"]
    assert unheld(SMALL.replace("nats per token |", "nats per 100 tokens |")) == ["100"]
    assert unheld(SMALL.replace("0.013 /", "0.013 (1,234 rows) /")) == ["1,234"]


@pytest.mark.parametrize(
    ("printed", "value", "same"),
    [
        ("0.35", 0.3549, True),
        ("0.35", 0.3551, False),
        ("48,011", 48010.6, True),
        ("48,011", 48011.6, False),
        ("95 %", 0.9545, True),
        ("95 %", 0.9551, False),
        ("−0.008", -0.0084, True),
        ("3e-3", 0.003, True),
        ("3e-3", 0.0031, False),
    ],
)
def test_a_printed_number_is_the_measured_one_rounded(printed: str, value: float, same: bool) -> None:
    """With thousands set apart, as a percentage, below zero, in powers of ten."""
    assert is_rounded(printed, value) is same
