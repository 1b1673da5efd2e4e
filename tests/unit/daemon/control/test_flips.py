"""What flipped in a round is what its report, or the ledger, says of single documents."""

import math
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.control.answers.flips import FlipsAnswer
from daemon.control.facts.flips import NOT_KEPT, NOTHING_JUDGED
from daemon.control.without_daemon import StoreControl
from daemon.errors import UnknownThing
from learner.directory.report import Outcome, Report, SliceScores, read_report
from memory.ledger.records import DocumentScore
from memory.ledger.states import RoundState
from streams.document import Batch, Document, Partition
from tests.daemon_harness import sentences
from tests.unit.daemon.kept import Kept
from tests.unit.daemon.rooms import World, world

NEWS = Partition("news", 0)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    """A base, and fresh text of many people."""
    with world(tmp_path, gate={"minimum_documents": 5, "resamples": 200}) as made:
        documents = tuple(
            Document(text, "news", f"user-{at}", None, None, 1_700_000_000.0, NEWS, at)
            for at, text in enumerate(sentences(120, seed=5))
        )
        made.store.append(Batch(documents, (), (), {NEWS: len(documents)}))
        yield made


def control(here: World) -> StoreControl:
    """As without a daemon."""
    return StoreControl(here.settings, here.store, here.rooms.checkpoints)


def losses(here: World, number: int, model: str) -> dict[int, float]:
    """Loss per token of each document, as the round's report has them."""
    report = read_report(here.rooms.round_dir(number))
    found: dict[int, DocumentScore] = {}
    for scores in report.slices.values():
        of_model = scores.parent if model == "parent" else scores.candidates[model]
        found |= {score.id: score for score in of_model}
    return {id_: score.nll / score.tokens for id_, score in found.items()}


def shares(answer: FlipsAnswer) -> dict[str, float]:
    """As the ledger keeps them."""
    of = answer["documents"]
    return {"worse": answer["worse"] / of, "better": answer["better"] / of, "documents": of}


def test_a_refused_round_is_told_of_by_its_report(here: World) -> None:
    """Counts as in the ledger, documents worst first with both losses, text only where it is asked for."""
    here.run("doubtful")
    answer = control(here).flips(1, limit=50)
    assert (answer["scores"], answer["generation"], answer["note"]) == ("report", None, "")
    assert answer["candidate"] is not None
    assert shares(answer) == here.store.rounds.read(1).report["flips"][answer["candidate"]]
    assert answer["documents_then"] == answer["documents"]
    before, after = losses(here, 1, "parent"), losses(here, 1, answer["candidate"])
    changes = {id_: after[id_] - before[id_] for id_ in before}
    assert answer["worse"] == sum(change > 0.1 for change in changes.values()) > 0
    assert answer["better"] == sum(change < -0.1 for change in changes.values()) > 0
    for documents, worst in ((answer["worst"], 1), (answer["best"], -1)):
        ranked = sorted(changes, key=lambda id_: (-worst * changes[id_], id_))
        assert [document["id"] for document in documents] == ranked[: len(documents)]
        for document in documents:
            assert (document["before"], document["after"]) == (before[document["id"]], after[document["id"]])
            assert document["sample"] is not None
            assert "text" not in document["sample"]
    assert len(control(here).flips(1, limit=3)["worst"]) == 3
    shown = control(here).flips(1, limit=1, text=True)["worst"][0]
    assert shown["sample"] is not None
    assert len(shown["sample"]["text"]) == shown["characters"]


def test_text_that_was_erased_is_told_as_erased(here: World) -> None:
    """The round's directory goes with it; of an accepted round the ledger has what is left, and says so."""
    here.run("good")
    first = control(here).flips(1, limit=50)
    assert (first["scores"], first["generation"]) == ("report", 1)
    keyed = next(
        document["sample"] for document in first["best"] if document["sample"] and document["sample"]["topic"] == "news"
    )
    shutil.copytree(here.rooms.round_dir(1), here.rooms.rounds_dir / "aside")
    erased = control(here).forget(f"user-{keyed['offset']}")
    assert erased["samples"] == 1
    answer = control(here).flips(1, limit=50, text=True)
    assert (answer["scores"], answer["erased"], answer["documents"]) == ("ledger", 1, first["documents"] - 1)
    assert answer["documents_then"] == first["documents"]
    assert f"of the {first['documents']:,} documents" in answer["note"]
    kept = {document["id"]: document for document in first["best"]}
    assert keyed["id"] not in {document["id"] for document in answer["best"]}
    for document in answer["best"]:
        if document["id"] in kept:
            assert {name: document[name] for name in ("before", "after", "slice")} == {
                name: kept[document["id"]][name] for name in ("before", "after", "slice")
            }
    # A directory that a person put back, from a copy: its scores are told, the text is not there.
    shutil.copytree(here.rooms.rounds_dir / "aside", here.rooms.round_dir(1))
    again = control(here).flips(1, limit=50, text=True)
    gone = next(document for document in again["best"] if document["id"] == keyed["id"])
    assert (gone["sample"], gone["characters"]) == (None, None)
    assert gone["erased_at"] is not None


def test_what_is_kept_nowhere_is_said(here: World) -> None:
    """Of a round whose directory is gone and that made no generation; of one that judged nothing; of none."""
    here.run("doubtful")
    shutil.rmtree(here.rooms.round_dir(1))
    answer = control(here).flips(1)
    assert (answer["scores"], answer["documents"], answer["note"]) == (None, 0, NOT_KEPT)
    here.run("implausible")
    assert control(here).flips(2)["note"] == NOTHING_JUDGED
    with pytest.raises(UnknownThing):
        control(here).flips(99)


def test_a_report_that_cannot_be_read_is_no_answer(here: World) -> None:
    """The ledger is asked instead."""
    here.run("good")
    whole = control(here).flips(1)
    (here.rooms.round_dir(1) / "report.json").write_bytes(b"{")
    answer = control(here).flips(1)
    assert (answer["scores"], answer["documents"]) == ("ledger", whole["documents"])
    assert answer["note"] == ""


def test_a_classifier_flips_with_its_answers(tmp_path: Path) -> None:
    """Each with both answers, by no margin; one without a finite loss comes first, and is told without."""
    kept = Kept(tmp_path)
    kept.base()
    kept.arrive(40)
    with kept.store:
        number = kept.begin().number
        kept.store.rounds.advance(number, RoundState.JUDGED)
        kept.store.rounds.refuse(number, verdict={"candidate": "0.00"}, report={}, detail="worse")
        parent = tuple(DocumentScore(id_, 0.5, 1, "a", "a") for id_ in (901, 902, 903))
        candidate = tuple(
            DocumentScore(id_, loss, 1, "b", "a") for id_, loss in ((901, 0.4), (902, 2.0), (903, math.nan))
        )
        slices = {"anchor": SliceScores(parent, parent, {"0.00": candidate})}
        report = Report(number, "classifier", Outcome.TRAINED, "", "cpu", (), slices, None, None, frozenset())
        (kept.settings.rounds_dir / f"{number:06d}" / "report.json").write_bytes(report.encode())
        answer = kept.control.flips(number)
        assert (answer["margin"], answer["unit"], answer["worse"]) == (None, "nats per document", 3)
        assert [document["id"] for document in answer["worst"]] == [903, 902, 901]
        assert [document["after"] for document in answer["worst"]] == [None, 2.0, 0.4]
        assert {(each["answer_before"], each["answer_after"]) for each in answer["worst"]} == {("a", "b")}
        assert [document["sample"] for document in answer["worst"]] == [None] * 3
