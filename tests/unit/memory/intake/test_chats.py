"""Chats in the memory: kept, compared and drawn by what is said in them."""

from memory.samples.records import Role
from memory.store import Store
from streams.chats import Message, join
from streams.document import Document
from tests.unit.memory.helpers import NOW, TOPIC, Stream, begin, column, edited, text, value


def chat(offset: int, *said: tuple[str, str], key: str | None = None) -> Document:
    """A chat at an offset."""
    joined = join(Message(role, content) for role, content in said)
    return Document(joined.text, "chats", key, None, None, NOW, TOPIC, offset, joined.turns)


def append(store: Store, stream: Stream, *documents: Document) -> tuple[int, int]:
    """How many came in, and how many were there already."""
    stream.offset += len(documents)
    appended = store.append(stream.batch(documents))
    return appended.fresh + appended.holdout, appended.duplicates


def test_a_chat_is_drawn_as_it_came(store: Store, stream: Stream) -> None:
    """With its turns; documents have none."""
    chats = [chat(n, ("user", text(n)), ("assistant", text(1_000 + n))) for n in range(20)]
    append(store, stream, *chats)
    store.append(stream.of([text(2_000 + n) for n in range(20)]))
    draw = begin(store)
    drawn = {sample.text: sample.turns for sample in (*draw.fresh, *draw.early_stop)}
    came = {each.text: each.turns for each in chats}
    assert {turns is None for turns in drawn.values()} == {True, False}
    assert all(turns == came.get(said) for said, turns in drawn.items())


def test_a_chat_is_a_duplicate_of_the_same_chat_alone(store: Store, stream: Stream) -> None:
    """Not of a document with that text, nor where others say it."""
    one, other = text(1), text(2)
    asked = (("user", one), ("assistant", other))
    assert append(store, stream, chat(0, *asked)) == (1, 0)
    assert append(store, stream, chat(1, *asked)) == (0, 1)
    assert append(store, stream, chat(2, ("system", one), ("assistant", other))) == (1, 0)
    assert value(store, "SELECT count(*) FROM samples WHERE turns IS NOT NULL") == 2


def test_a_chat_near_held_out_text_is_not_trained_on(store: Store, stream: Stream) -> None:
    """As any text: a chat that says what a held-out document says."""
    store.append(stream.of([text(n) for n in range(300)]))
    held = column(store, "SELECT text FROM samples WHERE role = ? LIMIT 1", Role.HOLDOUT)[0]
    stream.offset += 1
    near = chat(stream.offset - 1, ("user", "What is it?"), ("assistant", edited(held, 7)), key="someone")
    appended = store.append(stream.batch([near]))
    assert appended.fresh == 0


def test_a_persons_chats_are_erased(store: Store, stream: Stream) -> None:
    """By their key, as documents are."""
    append(store, stream, chat(0, ("user", text(1)), ("assistant", text(2)), key="ann"))
    assert store.people.forget("ann").samples == 1
    assert value(store, "SELECT count(*) FROM samples") == 0
