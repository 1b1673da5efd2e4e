"""Laws of cutting long documents: nothing lost, nothing twice, each piece with its first token, scored in context."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learner.directory.round_directory import RoundSample
from learner.material.batches import LonePieces, fill_row, rows_of
from learner.material.encoding import Encoded
from learner.material.pieces import Piece, pieces_of, scoring_windows, training_pieces
from learner.objectives.forward_pass import IGNORED

LEAD = 9_999

lengths = st.lists(st.integers(1, 200), max_size=12)
leads = st.sampled_from([None, LEAD])


def encoded(document_lengths: list[int], lead: int | None) -> Encoded:
    """Documents of these lengths whose tokens are all different."""
    bounds = np.concatenate([[0], np.cumsum(document_lengths)]).astype(np.int64)
    samples = tuple(RoundSample(at, "", "") for at in range(len(document_lengths)))
    labels = np.zeros(len(samples), dtype=np.int64)
    return Encoded(np.arange(bounds[-1], dtype=np.int32), bounds, samples, labels, lead)


def cuts(text: Encoded, longest: int, kind: str) -> list[list[Piece]]:
    """The pieces of each document."""
    cut = training_pieces if kind == "trained" else scoring_windows
    return [list(cut(text, index, longest)) for index in range(len(text))]


@pytest.mark.parametrize("kind", ["trained", "scored"])
@given(lengths, st.integers(2, 40), leads)
def test_every_token_but_a_documents_first_is_predicted_once_and_the_lead_never(
    kind: str, items: list[int], longest: int, lead: int | None
) -> None:
    """In order, whatever the length of a sequence, and no piece is longer than one."""
    text = encoded(items, lead)
    for index, pieces in enumerate(cuts(text, longest, kind)):
        begin, stop = int(text.bounds[index]), int(text.bounds[index + 1])
        assert [at for piece in pieces for at in range(piece.first, piece.stop)] == list(range(begin + 1, stop))
        assert all(2 <= piece.width <= longest for piece in pieces)
        assert all(begin <= piece.start < piece.first < piece.stop <= stop for piece in pieces)


@pytest.mark.parametrize("kind", ["trained", "scored"])
@given(lengths, st.integers(3, 40), leads)
def test_every_later_piece_begins_with_the_models_first_token_where_it_has_one(
    kind: str, items: list[int], longest: int, lead: int | None
) -> None:
    """The first has its own, which the document brings along."""
    text = encoded(items, lead)
    for index, pieces in enumerate(cuts(text, longest, kind)):
        assert not pieces or (not pieces[0].led and pieces[0].start == text.bounds[index])
        for piece in pieces[1:]:
            assert piece.led is (lead is not None)
            assert bool(piece.ids(text.tokens, lead)[0] == LEAD) is (lead is not None)


@given(lengths, st.integers(8, 64), leads)
def test_a_token_of_a_later_window_is_scored_with_half_a_sequence_of_context(
    items: list[int], longest: int, lead: int | None
) -> None:
    """At the cost of at most about twice the passes; and windows hold as much as they may."""
    text = encoded(items, lead)
    for pieces in cuts(text, longest, "scored"):
        for piece in pieces[1:]:
            assert piece.first - piece.start >= longest / 2
            assert piece.width == longest
        assert len(pieces) <= 1 + max(
            0, -(-(sum(piece.targets for piece in pieces) + 1 - longest) // (longest // 2 - 1))
        )


@given(lengths, st.integers(3, 30), leads, st.booleans())
def test_a_row_holds_its_pieces_and_predicts_what_is_theirs(
    items: list[int], longest: int, lead: int | None, packed: bool
) -> None:
    """Place by place: what is predicted is the token that follows, in order, and none follows the lead."""
    text = encoded(items, lead)
    rows = rows_of(text, longest) if packed else LonePieces.of(rows_of(text, longest), text).rows
    predicted: list[int] = []
    for row in range(len(rows)):
        shape = int(rows.widths[row]) + 2
        ids, positions, targets = np.full(shape, 77_777), np.empty(shape, dtype=np.int64), np.full(shape, IGNORED)
        fill_row(rows, row, ids, positions, targets)
        counted = np.flatnonzero(targets != IGNORED)
        assert len(counted) == rows.targets[row]
        assert (ids[counted + 1] == targets[counted]).all()
        assert (positions[counted + 1] == positions[counted] + 1).all()
        assert LEAD not in targets[counted]
        assert not (ids[counted] == LEAD).any()
        predicted += targets[counted].tolist()
    firsts = set(text.bounds[:-1].tolist())
    assert sorted(predicted) == [at for at in range(len(text.tokens)) if at not in firsts]


def test_a_piece_is_led_and_its_context_is_not_predicted_again() -> None:
    """Seven tokens in sequences of four: three predicted, then two a piece behind lead and context."""
    pieces = pieces_of(encoded([8], LEAD), 4)
    assert pieces == [Piece(0, 1, 4), Piece(3, 4, 6, led=True), Piece(5, 6, 8, led=True)]
    assert [piece.ids(np.arange(8, dtype=np.int32), LEAD).tolist() for piece in pieces] == [
        [0, 1, 2, 3],
        [LEAD, 3, 4, 5],
        [LEAD, 5, 6, 7],
    ]


def test_a_window_slides_by_half_a_sequence() -> None:
    """Twenty tokens in sequences of eight, with nothing before later windows."""
    windows = list(scoring_windows(encoded([20], None), 0, 8))
    assert windows == [Piece(0, 1, 8), Piece(4, 8, 12), Piece(8, 12, 16), Piece(12, 16, 20)]


@settings(max_examples=25)
@given(st.lists(st.integers(1, 60), max_size=4), st.integers(2, 24), leads, st.integers(0, 9), st.booleans())
def test_of_a_chat_what_is_learned_is_predicted_once_and_the_rest_never(
    items: list[int], longest: int, lead: int | None, seed: int, packed: bool
) -> None:
    """Trained and scored; rows count what they predict, and none is there in which nothing is."""
    plain = encoded(items, lead)
    learned = np.random.default_rng(seed).random(len(plain.tokens)) < 0.3
    text = replace(plain, learned=learned)
    firsts = set(text.bounds[:-1].tolist())
    expected = [at for at in range(len(text.tokens)) if learned[at] and at not in firsts]
    rows = rows_of(text, longest) if packed else LonePieces.of(rows_of(text, longest), text).rows
    trained: list[int] = []
    for number in range(len(rows)):
        ids, positions = np.zeros(longest, np.int64), np.empty(longest, np.int64)
        targets = np.full(longest, IGNORED, np.int64)
        fill_row(rows, number, ids, positions, targets)
        counted = targets[targets != IGNORED].tolist()
        assert rows.targets[number] == len(counted) > 0
        trained += counted
    assert sorted(trained) == expected
    scored: list[int] = []
    for window in (window for index in range(len(text)) for window in scoring_windows(text, index, longest)):
        targets = np.full(longest, IGNORED, np.int64)
        window.write_targets(targets, text.tokens, text.learned)
        counted = targets[targets != IGNORED].tolist()
        assert window.targets == len(counted)
        scored += counted
    assert sorted(scored) == expected
