"""The label of a dead letter that no classifier's label is, read out of its particulars."""

import pytest

from streams.decoding.unknown_label import label_in, tell


@pytest.mark.parametrize("label", ["calm", "", "it's", 'say "so"', 'it\'s "so"', "back\\", "a\nb", "Zoë", "', none of"])
def test_what_was_told_is_read_again(label: str) -> None:
    """Whatever it holds: quotes, backslashes, line ends."""
    assert label_in(tell("kind", ascii(label), 3, "'a', 'b'")) == label


def test_other_particulars_tell_of_no_label() -> None:
    """Nor do those of a version that wrote them otherwise."""
    assert label_in("field text is missing") is None
    assert label_in("") is None
