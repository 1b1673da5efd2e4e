"""What serving wrote down comes into the memory once, killed or not, and corrections are learned from."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daemon.ingestion import feedback_drain
from daemon.ingestion.feedback_drain import drain_feedback
from daemon.rounds.inputs import draw_spec
from daemon.settings.tree import Settings
from memory.intake.feedback import FeedbackCounts
from memory.samples import corrections
from serving.feedback.spool import Feedback, Spool
from streams.chats import split
from tests.unit.daemon.kept import Kept
from tests.unit.memory.helpers import text

SAID = Feedback(answer="cmpl-0", giver="web", user=None, verdict="reject", generation=3, answered_at=5, given_at=6.0)
ASKED = (("user", "How long is the river, from its spring to the sea?"),)
RIGHT = "It is nine hundred kilometres long, as far as anybody has measured it."


class Killed(BaseException):
    """As if the process ended here."""


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    """A memory, and a directory for feedback."""
    here = Kept(tmp_path)
    here.settings.feedback_dir.mkdir()
    with here.store:
        yield here


def say(kept: Kept, *said: Feedback) -> None:
    """Serving writes it down."""
    for each in said:
        Spool(kept.settings.feedback_dir).append(each)


def drain(kept: Kept, settings: Settings | None = None) -> int:
    """The daemon takes it."""
    return drain_feedback(settings or kept.settings, kept.store, lambda: 2_000.0)


def many(count: int, first: int = 0) -> list[Feedback]:
    """Of an answer each."""
    return [replace(SAID, answer=f"cmpl-{number}") for number in range(first, first + count)]


def rejected(kept: Kept) -> int:
    """How many are stored."""
    return kept.store.feedback.counts().get(3, FeedbackCounts()).rejected


def files(kept: Kept) -> list[str]:
    """What waits."""
    return [path.name for path in kept.settings.feedback_dir.iterdir()]


def test_what_waits_is_stored_and_removed(kept: Kept) -> None:
    """In as many batches as it takes, and nothing where nothing waits."""
    assert drain(kept) == 0
    say(kept, *many(450))
    assert drain(kept) == 450
    assert (rejected(kept), files(kept)) == (450, [])
    say(kept, *many(2, first=450))
    assert drain(kept) == 2
    assert rejected(kept) == 452


def test_a_memory_without_serving_waits_for_nothing(tmp_path: Path) -> None:
    """There is no directory where no serving process ever ran."""
    here = Kept(tmp_path)
    with here.store:
        assert drain(here) == 0


STEPS = {
    "before the file is taken away": "serving.feedback.spool.Path.rename",
    "before it is known to be": "serving.feedback.spool._sync_directory",
    "before a batch is stored": "memory.intake.feedback.take",
    "after a batch was stored": "memory.store.Store.append",
    "before the file is removed": "serving.feedback.spool.Path.unlink",
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())
@pytest.mark.parametrize("time", [1, 2])
def test_nothing_is_lost_and_nothing_comes_twice_wherever_it_is_killed(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, step: str, time: int
) -> None:
    """At each step, the first time and the second; more is said before the next start."""
    module, _, name = step.rpartition(".")
    calls = 0

    def kill(*_: Any, **__: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == time and name == "append":
            real(*_, **__)
        if calls == time:
            raise Killed
        return real(*_, **__)

    say(kept, *many(250))
    owner, attribute = _resolve(module, name)
    real = getattr(owner, attribute)
    with monkeypatch.context() as patch:
        patch.setattr(owner, attribute, kill)
        try:
            drain(kept)
            drain(kept)
        except Killed:
            pass
    say(kept, *many(30, first=250))
    drain(kept)
    assert (rejected(kept), files(kept)) == (280, [])
    assert len({each.answer for each in kept.store.feedback.latest(500)}) == 280


def _resolve(module: str, name: str) -> tuple[Any, str]:
    import importlib

    try:
        return importlib.import_module(module), name
    except ModuleNotFoundError:
        parent, _, owner = module.rpartition(".")
        return getattr(importlib.import_module(parent), owner), name


def test_a_correction_becomes_text_to_learn_from(kept: Kept) -> None:
    """A chat with the right answer in the place of the wrong one, of the person, with a slice of its own."""
    say(kept, replace(SAID, user="u", messages=ASKED, text="Long.", correction=RIGHT, corrected=True))
    drain(kept)
    (said,) = kept.store.feedback.latest()
    assert (said.learned, said.prompt, said.text, said.correction) == ("yes", ASKED[0][1], "Long.", RIGHT)
    (found,) = kept.store.people.find("u").samples
    assert found.sample.source == "feedback"
    assert [(each.role, each.content) for each in split(found.sample.text, found.sample.turns or "")] == [
        *ASKED,
        ("assistant", RIGHT),
    ]
    assert kept.store.file.read(corrections.givers, [found.sample.id]) == {found.sample.id: "web"}
    kept.store.people.forget("u")
    assert (kept.store.feedback.latest(), kept.store.people.find("u").samples) == ([], ())
    assert kept.store.file.read(corrections.givers, [found.sample.id]) == {}


def test_a_correction_counts_for_more_than_itself(kept: Kept) -> None:
    """By the recipe, in the round that draws it and in what stays known of that; other text does not."""
    kept.base()
    kept.arrive(40)
    corrected = replace(SAID, messages=(("prompt", "The river is "),), corrected=True)
    # None of them near another one, which may be held out.
    say(kept, *(replace(corrected, answer=f"cmpl-{n}", user=f"u{n}", correction=text(n, 80)) for n in range(40)))
    drain(kept)
    draw = kept.store.rounds.begin(trigger="test", recipe={}, seed=1, spec=draw_spec(kept.settings))
    assert draw is not None
    assert {(one.source == "feedback", one.weight) for one in draw.fresh} == {(True, 2.0), (False, 1.0)}
    noted = kept.control.round_samples(draw.number)["samples"]
    drawn = [one for one in noted if one["part"] == "fresh"]
    assert {(one["topic"], one["weight"]) for one in drawn} == {("(feedback)", 2.0), ("news", 1.0)}


def test_people_who_are_made_up_have_one_quota(kept: Kept) -> None:
    """That of the API key by which their corrections came; so has what names nobody. What is replayed counts too."""
    settings = kept.settings.memory.model_copy(update={"key_quota": 5})
    kept.base()
    kept.arrive(40)
    corrected = replace(SAID, giver="app", messages=(("prompt", "The river is "),), corrected=True)
    said = [
        replace(corrected, answer=f"web-{n}", giver="web", user=f"made-up-{n}", correction=text(40 + n, 80))
        for n in range(20)
    ]
    say(kept, *said, *(replace(corrected, answer=f"app-{n}", correction=text(100 + n, 80)) for n in range(20)))
    drain(kept)
    kept.store.file.settings = settings
    spec = draw_spec(kept.settings)
    foreseen, over = kept.store.rounds.foreseen_draw(spec)
    draw = kept.store.rounds.begin(trigger="test", recipe={}, seed=1, spec=spec)
    assert draw is not None
    for each in (foreseen, draw):
        given = [one.source for one in (*each.fresh, *each.early_stop)]
        assert given.count("feedback") == 10
        assert given.count("news") > 20
    assert [one.source for one in over].count("feedback") > 10


def test_a_prompts_correction_is_its_continuation(kept: Kept) -> None:
    """Which no chat is."""
    say(kept, replace(SAID, user="u", messages=(("prompt", "The river is "),), correction=RIGHT, corrected=True))
    drain(kept)
    (found,) = kept.store.people.find("u").samples
    assert (found.sample.text, found.sample.turns) == (f"The river is {RIGHT}", None)


@pytest.mark.parametrize(
    ("said", "learned"),
    [
        ({"messages": None}, "no_text"),
        ({"correction": None}, "no_text"),
        ({"correction": " "}, "empty_turn"),
        ({"correction": "a\0b"}, "nul_byte"),
        ({"corrected": False, "correction": None}, None),
    ],
)
def test_a_correction_that_teaches_nothing_says_why(kept: Kept, said: dict[str, Any], learned: str | None) -> None:
    """The verdict is kept all the same."""
    whole = {"messages": ASKED, "correction": RIGHT, "corrected": True, "user": "u"}
    say(kept, replace(SAID, **{**whole, **said}))
    drain(kept)
    assert [each.learned for each in kept.store.feedback.latest()] == [learned]
    assert kept.store.people.find("u").samples == ()


def of_kind(kept: Kept, kind: str, **more: Any) -> Settings:
    """The settings of another kind of model."""
    model = kept.settings.model.model_copy(update={"kind": kind, **more})
    return kept.settings.model_copy(update={"model": model})


def test_a_masked_model_learns_from_no_correction(kept: Kept) -> None:
    """It answers nothing."""
    say(kept, replace(SAID, messages=ASKED, correction=RIGHT, corrected=True))
    drain(kept, of_kind(kept, "masked-lm"))
    assert [each.learned for each in kept.store.feedback.latest()] == ["not_learned_from"]


def test_a_corrected_label_is_a_labelled_document(kept: Kept) -> None:
    """Once, of the person; a label that the model does not have teaches nothing, and that is said."""
    asked = replace(SAID, user="u", messages=(("prompt", ASKED[0][1]),), text="calm", corrected=True)
    say(kept, replace(asked, correction="flood"), replace(asked, answer="clf-1", correction="drought"))
    say(kept, replace(asked, answer="clf-2", messages=None, text=None))
    settings = of_kind(kept, "classifier", labels=("calm", "flood"))
    assert [drain(kept, settings), drain(kept, settings)] == [3, 0]
    assert [each.learned for each in kept.store.feedback.latest()] == ["no_text", "unknown_label", "yes"]
    (found,) = kept.store.people.find("u").samples
    assert (found.sample.text, found.sample.label, found.sample.source) == (ASKED[0][1], "flood", "feedback")


def test_of_several_labels_all_that_fit_are_given(kept: Kept, tmp_path: Path) -> None:
    """As a list, which may be empty: none fits."""
    (tmp_path / "model").mkdir()
    config = {"problem_type": "multi_label_classification", "id2label": {"0": "calm", "1": "flood", "2": "ice"}}
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    asked = replace(SAID, text='["calm"]', corrected=True)
    for number, labels in enumerate((("ice", "flood"), ())):
        text = (("prompt", f"{number} {ASKED[0][1]}"),)
        say(kept, replace(asked, answer=f"clf-{number}", user=f"u{number}", messages=text, correction=labels))
    drain(kept, of_kind(kept, "classifier"))
    assert [(each.learned, each.correction) for each in kept.store.feedback.latest()] == [
        ("yes", "[]"),
        ("yes", '["flood","ice"]'),
    ]
    given = [found.sample.label for user in ("u0", "u1") for found in kept.store.people.find(user).samples]
    assert given == ['["flood","ice"]', "[]"]


def test_an_erasure_finds_what_waits(kept: Kept) -> None:
    """It is taken in first, so that nothing of the person is left in a file."""
    say(kept, replace(SAID, user="u", messages=ASKED, text="Long.", correction=RIGHT, corrected=True))
    erased = kept.control.forget("u")
    assert (erased["feedback"], erased["samples"], files(kept)) == (1, 1, [])


def test_what_was_said_is_told(kept: Kept) -> None:
    """By generation, one by one, and of the serving one in the status; text only to who asks for it."""
    say(kept, replace(SAID, messages=ASKED, text="Long.", correction=RIGHT, corrected=True))
    drain(kept)
    answer = kept.control.feedback(limit=5, before=None, text=False)
    assert answer["generations"] == [{"generation": 3, "accepted": 0, "rejected": 1, "corrected": 1}]
    assert [(each["key"], each["text"]) for each in answer["latest"]] == [("web", None)]
    assert kept.control.feedback(text=True)["latest"][0]["correction"] == RIGHT
    assert kept.control.status()["feedback"] is None, "nothing serves yet"


def test_lines_of_which_nobody_was_told_are_passed_over(kept: Kept) -> None:
    """They keep their number, so that those behind them keep theirs."""
    say(kept, SAID)
    with (kept.settings.feedback_dir / "open.jsonl").open("ab") as file:
        file.write(b'{"answer": "half\n[]\n{"answer": 1}\n')
    say(kept, *many(1, first=1))
    assert drain(kept) == 5
    assert rejected(kept) == 2
    assert kept.store.next_offset(feedback_drain.PARTITION.topic, 0) == 5
