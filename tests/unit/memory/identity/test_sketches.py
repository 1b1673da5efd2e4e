"""Near-duplicates are recognised, and other text is not."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memory.identity.near_duplicates import SketchIndex, sketch_texts
from memory.identity.sketches import BANDS, PIECE_BYTES, PLACES, join
from tests.unit.memory.helpers import edited, text

SIMILARITY = 0.6

PARAGRAPH = (
    "The commission met on Tuesday to hear from the towns along the lower river, where the spring floods had "
    "carried away two bridges and most of the seed for the coming year. It was agreed that the state would lend "
    "the seed without interest, and that the bridges would be rebuilt in stone before the winter."
)


def found(held: list[str], asked: list[str]) -> list[bool]:
    """Which of the texts come near a held one."""
    index = SketchIndex(SIMILARITY)
    index.add(sketch_texts(held))
    near: list[bool] = index.near(sketch_texts(asked)).tolist()
    return near


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("Tuesday", "Thursday"),
        lambda text: text.replace("two bridges", "three bridges").replace("stone", "timber"),
        lambda text: text.upper(),
        lambda text: "  " + text.replace(" ", "\n\t "),
        lambda text: "UPDATED: " + text,
        lambda text: text + " A further hearing is planned for May.",
        lambda text: text.removeprefix("The commission met on Tuesday to hear"),
        lambda text: text.replace(",", "").replace(".", ""),
    ],
    ids=["word", "words", "case", "layout", "prefix", "addition", "beginning", "punctuation"],
)
def test_an_edited_paragraph_is_a_near_duplicate(change: object) -> None:
    """What a person would call the same paragraph is found."""
    assert found([PARAGRAPH], [change(PARAGRAPH)]) == [True]  # type: ignore[operator]  # of parametrize


def test_another_paragraph_of_the_same_vocabulary_is_none() -> None:
    """The same words in another order, about another thing, are another text."""
    other = (
        "On Tuesday the towns agreed to hear the commission. Most of the stone for the bridges had been lent by the "
        "state, and the river carried the seed of the coming winter along its lower floods for two years."
    )
    assert found([PARAGRAPH], [other]) == [False]


def test_text_without_spaces_is_compared_too() -> None:
    """Shingles are of bytes: no language needs word boundaries."""
    chinese = "委員會於星期二聽取了下游各鎮的陳述那裡的春季洪水沖走了兩座橋和來年的大部分種子州政府同意無息貸出種子"
    assert found([chinese], [chinese.replace("星期二", "星期四")]) == [True]
    assert found([chinese], [chinese[::-1]]) == [False]


def test_nearly_all_edited_texts_are_found_and_no_others() -> None:
    """Of 500 texts with three of forty words changed at least 97 % are found; of 500 unrelated ones none is."""
    originals = [text(n, words=60) for n in range(500)]
    assert np.mean(found(originals, [edited(one, n, words=3) for n, one in enumerate(originals)])) >= 0.97
    assert not any(found(originals, [text(n, words=60) for n in range(10_000, 10_500)]))


def test_very_short_texts_have_no_sketch() -> None:
    """Two greetings are not near-duplicates of each other: so little text agrees by chance."""
    assert not sketch_texts(["Good morning", ""]).known.any()
    assert found(["Good morning to all"], ["Good morning to you"]) == [False]


@settings(max_examples=30)
@given(st.lists(st.text(max_size=300), min_size=1, max_size=10))
def test_a_sketch_does_not_depend_on_its_batch(texts: list[str]) -> None:
    """Alone or among others a text has the same sketch."""
    texts = [one.encode("utf-8", "ignore").decode() for one in texts]
    together, alone = sketch_texts(texts), join([sketch_texts([one]) for one in texts])
    known = together.known
    assert (known == alone.known).all()
    assert (together.bands[known] == alone.bands[known]).all()
    assert (together.places[known] == alone.places[known]).all()


def test_a_text_longer_than_a_piece_is_hashed_whole() -> None:
    """Where pieces of the batch meet makes no difference."""
    long = text(1, words=PIECE_BYTES // 4)
    shifted = sketch_texts(["x" * 77, long])
    assert (sketch_texts([long]).places[0] == shifted.places[1]).all()


def test_agreement_estimates_jaccard_similarity() -> None:
    """Over many pairs the share of agreeing places is the shingles' similarity, within 0.02."""
    originals = [text(n, words=60) for n in range(300)]
    changed = [edited(one, n, words=6) for n, one in enumerate(originals)]
    exact = np.mean([jaccard(one, other) for one, other in zip(originals, changed, strict=True)])
    estimated = (sketch_texts(originals).places == sketch_texts(changed).places).mean()
    assert abs(exact - estimated) < 0.02


def jaccard(one: str, other: str) -> float:
    """Similarity of the sets of 12-byte windows."""
    sets = [{text_[n : n + 12] for n in range(len(text_) - 11)} for text_ in (one.lower(), other.lower())]
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def test_an_index_grows_past_its_first_room() -> None:
    """Texts added in many batches are all found."""
    index = SketchIndex(SIMILARITY)
    texts = [text(n) for n in range(300)]
    for start in range(0, 300, 7):
        index.add(sketch_texts(texts[start : start + 7]))
    assert len(index) == 300
    assert index.near(sketch_texts(texts)).all()


def test_the_shape_of_a_sketch() -> None:
    """Eight bands of three places."""
    sketches = sketch_texts([PARAGRAPH])
    assert sketches.bands.shape == (1, BANDS)
    assert sketches.places.shape == (1, PLACES)
