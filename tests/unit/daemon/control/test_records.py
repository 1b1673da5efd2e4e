"""What answers say of a sample."""

from daemon.control.facts.records import sample_with_text
from memory.samples.reading import FoundSample
from memory.samples.records import Role, Sample
from streams.chats import INPUT, TARGET, Message, join
from streams.document import Partition


def test_a_chat_has_its_messages_beside_its_text_and_a_pair_its_parts() -> None:
    """A document has neither."""
    chat = join([Message("user", "Where?"), Message("assistant", "Here.")])
    sample = Sample(1, chat.text, "s", None, Role.FRESH, 3, None, None, 0.0, chat.turns)
    line = sample_with_text(FoundSample(sample, Partition("t", 0), 5))
    assert line["text"] == "Where?\n\nHere."
    assert line["messages"][1] == {"role": "assistant", "content": "Here."}
    pair = join([Message(INPUT, "Where?"), Message(TARGET, "Here.")])
    sample = Sample(1, pair.text, "s", None, Role.FRESH, 3, None, None, 0.0, pair.turns)
    line = sample_with_text(FoundSample(sample, Partition("t", 0), 5))
    assert (line["text"], line["input"], line["target"]) == ("Where?\n\nHere.", "Where?", "Here.")
    assert "messages" not in line
    document = Sample(1, "Here.", "s", None, Role.FRESH, 3, None, None, 0.0)
    assert "messages" not in sample_with_text(FoundSample(document, Partition("t", 0), 5))
