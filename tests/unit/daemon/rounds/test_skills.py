"""Rounds that are held to skills, with a stand-in learner; the store and the gate are real."""

import json
from pathlib import Path
from typing import Any

import orjson

from checkpoints.json_files import read_json
from daemon.rounds.record import RoundRecord
from learner.directory.round_directory import FRESH, REPLAY
from learner.directory.round_skills import KNOWN_SKILLS, KnownSkill
from memory.ledger.states import RoundState
from tests.daemon_harness import sentences
from tests.unit.daemon.rooms import World, world


def written(path: Path, prompts: int = 40, *, first: int = 0) -> Path:
    """A skill's file of sums."""
    lines = [{"prompt": f"{number} + 1 =", "exact": str(number + 1)} for number in range(first, first + prompts)]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def evaluation(path: Path, **more: Any) -> dict[str, Any]:
    """Settings of one skill."""
    return {"skills": [{"name": "sums", "file": str(path), **more}]}


def known(here: World, number: int) -> KnownSkill:
    """What a round was told of the skill."""
    content = (here.rooms.round_dir(number) / KNOWN_SKILLS).read_bytes()
    return read_json(dict[str, KnownSkill], content)["sums"]


def test_a_candidate_that_keeps_the_skill_serves_and_the_ledger_knows_its_answers(tmp_path: Path) -> None:
    """Base and generation; the next round asks the parent nothing again, unless the prompts are others."""
    file = written(tmp_path / "sums.jsonl")
    with world(tmp_path, evaluation=evaluation(file)) as here:
        assert here.run("good").state is RoundState.ACCEPTED
        assert known(here, 1).parent is None
        (skill,) = RoundRecord.read(here.rooms.round_dir(1)).skills
        assert (skill.name, skill.prompts, skill.max_drop_parent) == ("sums", 40, 0.1)
        rows = here.store.generations.skill_scores()
        assert [(row.generation, row.skill, row.score.rights) for row in rows] == [
            (0, "sums", "1" * 40),
            (1, "sums", "1" * 40),
        ]
        figures = here.store.rounds.read(1).report["skills"]["sums"]
        assert figures == {
            "version": skill.version,
            "prompts": 40,
            "right": {"base": 1.0, "parent": 1.0, "0.00": 1.0},
        }
        here.feed(seed=3)
        here.run("good")
        assert (known(here, 2).parent, known(here, 2).base) == ("1" * 40, "1" * 40)
        written(file, first=100)
        here.feed(seed=4)
        here.run("good")
        assert (known(here, 3).parent, known(here, 3).base) == (None, None)


def test_a_candidate_that_breaks_the_skill_is_refused(tmp_path: Path) -> None:
    """With skill, figures and a prompt in the sentence; what the parent answers is known to the next round."""
    with world(tmp_path, evaluation=evaluation(written(tmp_path / "sums.jsonl"))) as here:
        conclusion = here.run("unskilled")
        assert conclusion.state is RoundState.REFUSED
        assert "on skill sums its share of right answers is 0.500 lower" in conclusion.detail
        assert "Broken, for one: '1 + 1 =' (expected '2')" in conclusion.detail
        verdict = here.store.rounds.read(1).verdict
        assert [example["line"] for example in verdict["broken"]["sums"]] == [2, 4, 6]
        assert here.store.generations.serving() == 0
        assert here.run("good").state is RoundState.ACCEPTED
        assert known(here, 2).parent == "1" * 40


def test_a_skill_that_cannot_be_read_fails_the_round(tmp_path: Path) -> None:
    """It would go unguarded otherwise; the line is named, and the text stays fresh."""
    file = written(tmp_path / "sums.jsonl")
    with world(tmp_path, evaluation=evaluation(file)) as here:
        fresh = here.store.counts().fresh_samples
        file.write_text('{"prompt": "1 + 1 ="}\n')
        conclusion = here.run("good")
        assert conclusion.state is RoundState.FAILED
        assert "line 1 needs an expected answer" in conclusion.detail
        assert here.store.counts().fresh_samples == fresh


def test_a_skills_text_is_not_trained_on(tmp_path: Path) -> None:
    """Though it was stored before the file was named, before the stream too."""
    file = tmp_path / "text.jsonl"
    file.write_text("\n".join(orjson.dumps({"prompt": text, "exact": "x"}).decode() for text in some_text()))
    with world(tmp_path, evaluation=evaluation(file)) as here:
        here.run("good")
        directory = here.rooms.round_dir(1)
        lines = [line for name in (FRESH, REPLAY) for line in (directory / name).read_text().splitlines()]
        trained = {orjson.loads(line)["text"] for line in lines}
        assert trained
        assert not trained & set(some_text())


def some_text() -> list[str]:
    """Of the world's text a part, fresh and from before the stream."""
    return [*sentences(120, seed=1)[::3], *sentences(120, seed=2)[::3]]
