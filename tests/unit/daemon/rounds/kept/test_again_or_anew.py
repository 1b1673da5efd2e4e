"""Rounds that judge again what could not be proven: the learner is a stand-in, the rest is real."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from daemon.control.without_daemon import StoreControl
from daemon.rounds.begin_or_wait import Ask, Begin, Trigger
from daemon.rounds.conclusion import Conclusion
from daemon.rounds.directories import prune_directories
from daemon.rounds.judgeable import ForeseenEvidence, foresee
from learner.directory.kept_candidates import KEPT, keep, read_kept
from learner.directory.round_directory import read_spec
from memory.errors import StoreFull
from memory.ledger.states import RoundState
from streams.document import Batch, Document, Partition
from tests.daemon_harness import sentences
from tests.unit.daemon.rooms import BY_HAND, DRY, World, world
from tests.unit.daemon.rounds.test_loop import VOLUME, decided

BY_ITSELF = Ask(Trigger.VOLUME, by="volume")
SEEDS = itertools.count(100)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[World]:
    """A world where volume begins rounds, and text of a person among others."""
    with world(tmp_path, triggers=VOLUME) as made:
        made.store.append(of_alice())
        yield made


def of_alice() -> Batch:
    """Documents of one person, fresh ones and perhaps held-out ones."""
    partition = Partition("people", 0)
    texts = sentences(12, seed=50)
    documents = tuple(
        Document(text, "river", f"alice/{at}", None, None, 1.7e9, partition, at) for at, text in enumerate(texts)
    )
    return Batch(documents, (), (), {partition: len(texts)})


def foreseen(here: World) -> ForeseenEvidence:
    """What there is to judge a round by now."""
    return foresee(here.store, here.settings, here.store.rounds.latest())


def let_evidence_come(here: World) -> None:
    """Text comes until the next round by itself has what it waits for."""
    wanted = foreseen(here).wanted
    assert wanted is not None
    while foreseen(here).newest < wanted.documents:
        here.feed(40, seed=next(SEEDS))


def again(here: World, mode: str = "good") -> Conclusion:
    """The next round by itself, once the evidence is there."""
    let_evidence_come(here)
    return here.run(mode, BY_ITSELF)


def test_what_could_not_be_proven_is_kept_and_accepted_when_it_can(here: World) -> None:
    """No step is taken for it; what serves is the file that was trained; text that came since stays fresh."""
    assert here.run("unsure", BY_ITSELF).state is RoundState.REFUSED
    new_text, evidence = here.store.rounds.read(1).fresh_samples, foreseen(here)
    assert "what round 1 trained is kept, and judged again when" in evidence.too_early
    assert evidence.too_early in decided(here).reason
    let_evidence_come(here)
    assert isinstance(decided(here), Begin)
    fresh = here.store.counts().fresh_samples
    conclusion = here.run("good", BY_ITSELF)
    assert conclusion.state is RoundState.ACCEPTED, conclusion.detail
    line, card = here.store.rounds.read(2), here.rooms.checkpoints.card(1)
    assert (line.trained_in, line.verdict["look"], line.fresh_samples) == (1, 2, new_text)
    assert (card.round, card.trained_in, card.data.samples) == (2, 1, new_text)
    trained = here.rooms.round_dir(1) / "candidates" / "0.00" / "model.safetensors"
    assert trained.samefile(here.rooms.round_dir(2) / "candidates" / "0.00" / "model.safetensors")
    assert (here.rooms.checkpoints.path(1) / "model.safetensors").read_bytes() == trained.read_bytes()
    assert fresh - here.store.counts().fresh_samples == new_text + line.early_stop_samples
    assert here.metric("riverkeep_judged_again_total", outcome="accepted") == 1
    assert here.metric("riverkeep_trained_tokens_total", kind="new") == 1000, "trained once"


def test_what_does_harm_on_more_text_is_dropped(here: World) -> None:
    """As any candidate is; the next round trains anew."""
    here.run("unsure", BY_ITSELF)
    assert again(here, "worse").state is RoundState.REFUSED
    assert here.metric("riverkeep_judged_again_total", outcome="refused") == 1
    assert foreseen(here).kept is None
    here.run("good", BY_ITSELF)
    assert here.store.rounds.read(3).trained_in is None


def test_after_three_times_it_is_given_up(here: World) -> None:
    """All fresh text then trains the next round, at once."""
    here.run("unsure", BY_ITSELF)
    for look in (2, 3):
        assert again(here, "unsure").state is RoundState.REFUSED
        assert here.store.rounds.read(look).verdict["look"] == look
    assert here.metric("riverkeep_judged_again_total", outcome="unproven") == 2
    assert here.metric("riverkeep_unproven_rounds") == 3
    assert foreseen(here).kept is None
    assert isinstance(decided(here), Begin)
    here.run("good", BY_ITSELF)
    line = here.store.rounds.read(4)
    assert (line.state, line.trained_in) == (RoundState.ACCEPTED, None)
    assert here.metric("riverkeep_unproven_rounds") == 0
    assert line.fresh_samples > 2 * here.store.rounds.read(1).fresh_samples


def by_hand(here: World) -> Ask:
    """A person asks for a round."""
    let_evidence_come(here)
    return BY_HAND


def another_recipe(here: World) -> Ask:
    """The settings are changed."""
    recipe = here.settings.learner.recipe.model_copy(update={"epochs": 3})
    learner = here.settings.learner.model_copy(update={"recipe": recipe})
    here.settings = here.settings.model_copy(update={"learner": learner})
    return BY_ITSELF


def rolled_back(here: World) -> Ask:
    """A person goes back to the base."""
    let_evidence_come(here)
    here.store.generations.rollback(0)
    return BY_ITSELF


def set_aside(here: World) -> Ask:
    """Part of its text is not fresh any more."""
    let_evidence_come(here)
    with here.store.file.database.write() as tx:
        tx.execute(
            "UPDATE samples SET role = 5 WHERE id = (SELECT max(sample) FROM round_samples WHERE part = 'fresh')"
        )
    return BY_ITSELF


def no_evidence(here: World) -> Ask:
    """Much fresh text has come, of which hardly any was held out."""
    return BY_ITSELF


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (by_hand, "a test asked for a round"),
        (another_recipe, "the recipe is another since"),
        (rolled_back, "generation 1, from which they were trained, does not serve any more"),
        (set_aside, "new text that it was trained on is not fresh any more"),
        (no_evidence, "the held-out text that they waited for has not come"),
    ],
)
def test_what_is_kept_is_given_up_with_a_sentence(here: World, change: Callable[[World], Ask], said: str) -> None:
    """A round trains anew, and its note goes."""
    here.run("good")
    here.feed(seed=next(SEEDS))
    here.run("unsure", BY_ITSELF)
    assert read_kept(here.rooms.round_dir(2)) is not None
    with capture_logs() as logs:
        here.run("worse", change(here))
    (event,) = [line for line in logs if line["event"] == "candidates_given_up"]
    assert said in event["reason"]
    assert (event["trained_in"], here.store.rounds.read(3).trained_in) == (2, None)
    prune_directories(here.rooms, kept=3)
    assert read_kept(here.rooms.round_dir(2)) is None


def test_what_is_only_tried_takes_nobody_s_place(here: World) -> None:
    """Neither a dry run nor a round that is called off."""
    here.run("unsure", BY_ITSELF)
    with capture_logs() as logs:
        here.run("good", DRY)
        here.runner("hang").run(BY_HAND, "a test", must_stop=lambda: True)
    assert not [line for line in logs if line["event"] == "candidates_given_up"]
    assert again(here).state is RoundState.ACCEPTED
    assert here.store.rounds.read(4).trained_in == 1


def test_a_dry_run_keeps_nothing(here: World) -> None:
    """Nothing follows from it."""
    here.run("unsure", DRY)
    assert read_kept(here.rooms.round_dir(1)) is None
    assert foreseen(here).kept is None


def test_what_an_older_slice_could_not_prove_is_not_kept(here: World) -> None:
    """It has no more documents the next time."""
    assert here.run("doubtful", BY_ITSELF).state is RoundState.REFUSED
    assert here.store.rounds.read(1).verdict["evidence"]
    assert foreseen(here).kept is None


def test_an_erasure_takes_what_was_trained_on_the_text(here: World) -> None:
    """With its directory, and a sentence; the next round trains without it."""
    here.run("unsure", BY_ITSELF)
    mine = {one.sample_id for one in here.store.rounds.samples(1) if one.part == "fresh" and one.key_hash is not None}
    key = next(f"alice/{at}" for at in range(12) if mine & set(samples_of(here, f"alice/{at}")))
    control = StoreControl(here.settings, here.store, here.rooms.checkpoints)
    with capture_logs() as logs:
        control.forget(key)
    assert [line["reason"] for line in logs if line["event"] == "candidates_given_up"] == [
        "text that round 1 was given is erased"
    ]
    assert not here.rooms.round_dir(1).exists()
    assert foreseen(here).kept is None
    let_evidence_come(here)
    here.run("good", BY_ITSELF)
    assert here.store.rounds.read(2).trained_in is None


def test_an_erasure_that_was_cut_off_before_the_directory_went(here: World) -> None:
    """The ledger knows: what is on disk is not judged."""
    here.run("unsure", BY_ITSELF)
    fresh = {one.sample_id for one in here.store.rounds.samples(1) if one.part == "fresh" and one.key_hash is not None}
    key = next(f"alice/{at}" for at in range(12) if fresh & set(samples_of(here, f"alice/{at}")))
    here.store.people.forget(key)
    assert read_kept(here.rooms.round_dir(1)) is not None
    with capture_logs() as logs:
        again(here)
    assert [line["reason"] for line in logs if line["event"] == "candidates_given_up"] == [
        "text that it was trained on has been erased"
    ]
    assert here.store.rounds.read(2).trained_in is None


def samples_of(here: World, key: str) -> list[int]:
    """Ids of a person's samples."""
    return [entry.sample.id for entry in here.store.people.find(key).samples]


def test_its_directory_stays_and_is_shown(here: World) -> None:
    """However few are kept; status and the round itself tell what it waits for."""
    here.run("unsure", BY_ITSELF)
    here.run("good", DRY)
    prune_directories(here.rooms, kept=0)
    assert [path.name for path in here.rooms.rounds_dir.iterdir()] == ["000001"]
    control = StoreControl(here.settings, here.store, here.rooms.checkpoints)
    assert control.round(1)["kept"] == control.status()["kept"] != ""
    assert control.round(2)["kept"] == ""
    assert again(here).state is RoundState.ACCEPTED
    assert (control.round(3)["trained_in"], control.round(3)["kept"], control.status()["kept"]) == (1, "", "")


class Cut(BaseException):
    """Stands for a kill: nothing may catch it."""


def cut(*_: object, **__: object) -> None:
    """Stand in for what is cut off."""
    raise Cut


@pytest.mark.parametrize("at", ["before", "after"])
def test_cut_off_while_it_is_kept_it_is_kept_by_recovery(here: World, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    """The verdict is reached again, and once."""

    def keep_and_cut(*given: Any, **more: Any) -> None:
        if at == "after":
            keep(*given, **more)
        raise Cut

    with monkeypatch.context() as patched:
        patched.setattr("daemon.rounds.conclusion.keep", keep_and_cut)
        with pytest.raises(Cut):
            here.run("unsure", BY_ITSELF)
    (conclusion,) = here.runner().recover()
    assert conclusion.state is RoundState.REFUSED
    assert again(here).state is RoundState.ACCEPTED
    assert here.store.rounds.read(2).verdict["look"] == 2


@pytest.mark.parametrize(
    "step",
    [
        "daemon.rounds.inputs.write_round",
        "daemon.rounds.runner.MicroBatchLimits.begin",
        "daemon.rounds.record.read_report",
    ],
)
def test_cut_off_while_it_is_judged_again_it_is_judged_again(
    here: World, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The half-written round is discarded or finished; what is kept is there until then."""
    here.run("unsure", BY_ITSELF)
    let_evidence_come(here)
    with monkeypatch.context() as patched:
        patched.setattr(step, cut)
        with pytest.raises(Cut):
            here.run("good", BY_ITSELF)
    (conclusion,) = here.runner().recover()
    if conclusion.state is RoundState.ABANDONED:
        prune_directories(here.rooms, kept=3)
        assert again(here).state is RoundState.ACCEPTED
    assert here.store.generations.serving() == 1
    assert here.rooms.checkpoints.card(1).trained_in == 1


def test_cut_off_while_it_is_accepted_it_is_accepted_by_recovery(here: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the confidence of its look, which its own note tells."""

    def full(*_: object, **__: object) -> None:
        raise StoreFull("no room")

    here.run("unsure", BY_ITSELF)
    let_evidence_come(here)
    with monkeypatch.context() as patched:
        patched.setattr(here.store.rounds, "accept", full)
        with pytest.raises(StoreFull):
            here.run("good", BY_ITSELF)
    (conclusion,) = here.runner().recover()
    assert conclusion.state is RoundState.ACCEPTED
    assert conclusion.verdict is not None
    assert conclusion.verdict.look == 2


def test_files_that_are_gone_fail_the_round_and_the_next_trains(here: World) -> None:
    """The reason is kept in the ledger."""
    here.run("unsure", BY_ITSELF)
    (here.rooms.round_dir(1) / "report.json").unlink()
    assert again(here).state is RoundState.FAILED
    assert "report.json" in here.store.rounds.read(2).detail
    assert foreseen(here).kept is None
    assert here.run("good", BY_ITSELF).state is RoundState.ACCEPTED


def test_the_directory_of_such_a_round_has_all_that_it_needs(here: World) -> None:
    """The text that was trained on, and what must be found of its candidates, whatever became of the first."""
    here.run("unsure", BY_ITSELF)
    again(here, "unsure")
    first, second = here.rooms.round_dir(1), here.rooms.round_dir(2)
    for name in ("fresh.jsonl", "replay.jsonl", "early_stop.jsonl"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    kept = read_spec(second).kept
    assert kept is not None
    assert (kept.trained_in, kept.judgings) == (1, 1)
    assert (second / KEPT / "report.json").read_bytes() == (first / "report.json").read_bytes()
