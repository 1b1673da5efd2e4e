"""The report: what is written is read back, and what is broken names its field."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.directory.report import (
    BadReport,
    Outcome,
    PrequentialDocument,
    Report,
    SliceScores,
    TrainingSummary,
    read_report,
)
from learner.directory.round_skills import BrokenAnswer, SkillScores
from memory.ledger.records import DocumentScore

FIGURES = st.floats(min_value=0, max_value=1e9)
RIGHTS = st.text("01", max_size=4)
NAMES = st.text(min_size=1, max_size=8)
LANGUAGE_SCORES = st.builds(DocumentScore, id=st.integers(0, 2**60), nll=FIGURES, tokens=st.integers(0, 10**6))
LABEL_SCORES = st.builds(
    DocumentScore, id=st.integers(0, 2**60), nll=FIGURES, tokens=st.just(1), predicted=NAMES, label=NAMES
)
SCORES = st.lists(LANGUAGE_SCORES | LABEL_SCORES, max_size=3).map(tuple)
REPORTS = st.builds(
    Report,
    round=st.integers(1, 10**6),
    kind=st.sampled_from(["causal-lm", "classifier"]),
    outcome=st.sampled_from(Outcome),
    detail=NAMES,
    device=NAMES,
    prequential=st.lists(
        st.builds(
            PrequentialDocument,
            id=st.integers(0, 2**60),
            source=NAMES,
            nll=FIGURES,
            tokens=st.integers(0, 10**6),
            repetition=st.floats(0, 1),
            coherent=st.none() | st.booleans(),
            strangeness=st.none() | st.floats(-5, 5),
            contradicted=st.booleans(),
            new_label=st.booleans(),
            answer=st.none() | NAMES,
            label=st.none() | NAMES,
        ),
        max_size=3,
    ).map(tuple),
    slices=st.dictionaries(
        NAMES,
        st.builds(
            SliceScores,
            base=SCORES,
            parent=SCORES,
            candidates=st.dictionaries(st.sampled_from(["0.00", "0.25"]), SCORES),
        ),
        max_size=2,
    ),
    training=st.none()
    | st.builds(
        TrainingSummary,
        steps=st.integers(0, 10**6),
        tokens_new=st.integers(0, 10**12),
        tokens_replayed=st.integers(0, 10**12),
        seconds=FIGURES,
        tokens_per_second=FIGURES,
        losses=st.dictionaries(NAMES, FIGURES, max_size=3),
        micro_batch=st.integers(0, 1000),
        peak_memory_bytes=st.integers(0, 10**12),
        bytes_per_token=FIGURES,
        early_stopped_at=st.none() | st.integers(0, 1000),
        phase_seconds=st.dictionaries(NAMES, FIGURES, max_size=2),
        phase_peak_bytes=st.dictionaries(NAMES, st.integers(0, 10**12), max_size=2),
        tokens_touched=st.none() | st.integers(0, 10**12),
        tokens_drawn=st.none() | st.integers(0, 10**12),
    ),
    touched=st.none() | st.frozensets(st.integers(0, 2**60), max_size=3),
    untrainable=st.frozensets(st.integers(0, 2**60), max_size=3),
    new_labels=st.dictionaries(NAMES, st.integers(0, 1000), max_size=3),
    skills=st.dictionaries(
        NAMES,
        st.builds(
            SkillScores,
            version=NAMES,
            base=RIGHTS,
            parent=RIGHTS,
            candidates=st.dictionaries(NAMES, RIGHTS, max_size=2),
            broken=st.dictionaries(
                NAMES, st.tuples(st.builds(BrokenAnswer, st.integers(1, 99), NAMES, NAMES, NAMES)), max_size=1
            ),
        ),
        max_size=2,
    ),
)


def small() -> Report:
    """A report of one slice and one candidate."""
    score = DocumentScore(7, 12.5, 5)
    return Report(
        round=3,
        kind="causal-lm",
        outcome=Outcome.TRAINED,
        detail="",
        device="cpu",
        prequential=(PrequentialDocument(9, "news", 20.0, 6, 0.25),),
        slices={"anchor": SliceScores((score,), (score,), {"0.00": (score,)})},
        training=TrainingSummary(60, 100, 50, 2.0, 75.0, {"new": 3.5}, 8, 1024, 3.2, None, {"train": 2.0}),
        touched=None,
        untrainable=frozenset(),
    )


WRITTEN_BEFORE = b"""{"format":1,"round":3,"kind":"causal-lm","outcome":"trained","detail":"","device":"cpu",
"prequential":[[9,"news",20.0,6,0.25]],"slices":{"anchor":{"base":[[7,12.5,5]],"parent":[[7,12.5,5]],"candidates":{"0.00":
[[7,12.5,5]]}}},"training":{"steps":60,"tokens_new":100,"tokens_replayed":50,"seconds":2.0,"tokens_per_second":75.0,
"losses":{"new":3.5},"micro_batch":8,"peak_memory_bytes":1024,"bytes_per_token":3.2,"early_stopped_at":null,
"phase_seconds":{"train":2.0},"phase_peak_bytes":{},"tokens_touched":null,"tokens_drawn":null},"touched":null,
"untrainable":[]}"""


@given(REPORTS)
def test_what_is_written_is_read_back(report: Report) -> None:
    """Any report of finite numbers comes back equal."""
    assert Report.decode(report.encode()) == report


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_not_finite_comes_back_as_nan(broken: float) -> None:
    """A diverged loss stays visible to the gate, and the file stays JSON."""
    report = small()
    scores = SliceScores((), (), {"0.00": (DocumentScore(1, broken, 4),)})
    written = Report.decode(replace(report, slices={"a": scores}).encode())
    assert math.isnan(written.slices["a"].candidates["0.00"][0].nll)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        (("format",), 2, "report.format is 2"),
        (("round",), "3", "report.round is text"),
        (("round",), True, "report.round is true or false"),
        (("outcome",), "splendid", "report.outcome is 'splendid'"),
        (("kind",), "diffusion", "report.kind is 'diffusion'"),
        (("surprise",), 1, "report.surprise is not a field"),
        (("slices",), [], "report.slices is an array"),
        (("slices", "anchor", "base"), None, "report.slices.anchor.base is null"),
        (
            ("slices", "anchor", "candidates", "0.00", 0, 1),
            "x",
            "report.slices.anchor.candidates.0.00[0].nll",
        ),
        (("slices", "anchor", "candidates", "0.00", 0, 2), -1, "candidates.0.00[0].tokens is -1"),
        (("slices", "anchor", "parent", 0), [1, 2.0], "report.slices.anchor.parent[0] has 2 columns"),
        (("slices", "anchor", "parent", 0), [1, 2.0, 3, "calm"], "report.slices.anchor.parent[0] has 4 columns"),
        (("slices", "anchor", "parent", 0), [1, 2.0, 3, "calm", "calm", 1], "report.slices.anchor.parent[0] has more"),
        (("slices", "anchor", "parent", 0), {}, "report.slices.anchor.parent[0] is an object"),
        (("prequential", 0), [1], "report.prequential[0] has 1 columns"),
        (("training", "steps"), 1.5, "report.training.steps is a number"),
        (("training", "losses", "new"), [], "report.training.losses.new is an array"),
        (("training", "early_stopped_at"), "no", "report.training.early_stopped_at is text"),
    ],
)
def test_a_broken_field_is_named(path: tuple[str | int, ...], value: object, named: str) -> None:
    """Whatever is wrong, the message says where."""
    report: Any = orjson.loads(small().encode())
    target = report
    for step in path[:-1]:
        target = target[step]
    target[path[-1]] = value
    with pytest.raises(BadReport) as error:
        Report.decode(orjson.dumps(report))
    assert named in str(error.value)


@pytest.mark.parametrize(
    "name", sorted(orjson.loads(small().encode()).keys() - {"scored", "new_labels", "skills", "stopped"})
)
def test_a_missing_field_is_named(name: str) -> None:
    """No field has a default in the file, but for what an earlier version did not say."""
    report = orjson.loads(small().encode())
    del report[name]
    with pytest.raises(BadReport, match=rf"report\.{name} is missing"):
        Report.decode(orjson.dumps(report))


def test_a_report_of_another_version_is_told_by_its_format() -> None:
    """Whatever else has changed in it."""
    with pytest.raises(BadReport, match=r"report\.format is 2, this version of Riverkeep reads 1"):
        Report.decode(b'{"format": 2, "surprise": {}}')


def test_what_the_version_before_wrote_is_read() -> None:
    """Key by key and row by row as it was."""
    assert Report.decode(WRITTEN_BEFORE) == small()


def test_a_cut_file_is_a_bad_report_that_names_the_file(tmp_path: Path) -> None:
    """Half a report is not a report."""
    (tmp_path / "report.json").write_bytes(small().encode()[:50])
    with pytest.raises(BadReport, match=r"report\.json: the report is not JSON"):
        read_report(tmp_path)


def test_no_file_means_that_the_learner_did_not_finish(tmp_path: Path) -> None:
    """Absence is told apart from damage."""
    with pytest.raises(FileNotFoundError):
        read_report(tmp_path)


def test_the_report_names_every_candidate_once() -> None:
    """Candidates are collected over slices, sorted."""
    scores = {
        "a": SliceScores((), (), {"0.25": (), "0.00": ()}),
        "b": SliceScores((), (), {"0.50": (), "0.00": ()}),
    }
    report = Report(1, "causal-lm", Outcome.TRAINED, "", "cpu", (), scores, None, None, frozenset())
    assert report.candidates == ("0.00", "0.25", "0.50")


def test_only_a_classifier_is_right_or_wrong() -> None:
    """`correct` follows from the labels and is None for a language model."""
    assert DocumentScore(1, 0.5, 1, "up", "up").correct is True
    assert DocumentScore(1, 0.5, 1, "up", "down").correct is False
    assert DocumentScore(1, 0.5, 1).correct is None
