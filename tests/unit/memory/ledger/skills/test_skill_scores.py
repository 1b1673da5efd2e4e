"""What generations are known to answer rightly."""

from memory.ledger.scorings import Scoring
from memory.ledger.skills.skill_scores import SkillScore
from memory.store import Store
from tests.unit.memory.helpers import Stream, begin, text

CPU, GPU = Scoring("cpu", "float32", 512, 2), Scoring("cuda", "bfloat16", 512, 2)


def test_the_latest_figures_of_a_skill_are_kept_with_how_they_were_taken(store: Store) -> None:
    """Those of an earlier version of its prompts, or taken otherwise, are replaced."""
    save = store.generations.save_skill_scores
    save(0, {"sums": SkillScore("v1", "1100"), "names": SkillScore("n", "1")}, scored=CPU)
    save(0, {"sums": SkillScore("v2", "11100")}, scored=GPU)
    rows = {row.skill: row for row in store.generations.skill_scores()}
    assert (rows["sums"].score, rows["sums"].scored) == (SkillScore("v2", "11100"), GPU)
    assert (rows["names"].score.share, rows["names"].scored) == (1.0, CPU)
    assert rows["sums"].score.share == 0.6


def test_figures_of_a_number_that_no_round_took_are_not_shown(store: Store, stream: Stream) -> None:
    """Until its round is accepted."""
    store.append(stream.of([text(n) for n in range(60)]))
    draw = begin(store)
    number = store.generations.reserve(draw.number)
    store.generations.save_skill_scores(number, {"sums": SkillScore("v1", "1")}, scored=CPU)
    assert store.generations.skill_scores() == []
