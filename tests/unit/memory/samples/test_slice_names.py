"""What a slice's name tells."""

from memory.samples.slice_names import first_round, in_order, rounds_of, source_of


def test_slices_come_in_the_order_of_their_text() -> None:
    """The anchor first, then source after source; rounds are numbers, not words."""
    names = ["b@1-2", "a@10-11", "anchor", "a@3-5", "a@6-9", "a@1-2"]
    assert sorted(names, key=in_order) == ["anchor", "a@1-2", "a@3-5", "a@6-9", "a@10-11", "b@1-2"]


def test_a_source_may_have_any_name() -> None:
    """Also one with the sign that parts it from its rounds, or a name that tells no rounds."""
    assert (source_of("me@home@4-6"), rounds_of("me@home@4-6"), first_round("me@home@4-6")) == ("me@home", "4-6", 4)
    assert (source_of("anchor"), first_round("anchor"), first_round("odd@x-y")) == ("", 0, 0)
