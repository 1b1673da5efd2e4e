"""What can be said of arriving documents without the store: hashes and sketches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from memory.errors import MisplacedText
from memory.identity import similar_keys
from memory.identity.fingerprints import Bools, Hasher, Int64s, UInt64s, normalise
from memory.identity.sketches import Sketches, sketch
from streams.chats import roles
from streams.document import Document, Partition

KEYS_REMEMBERED = 65_536
LABELS_REMEMBERED = 1_024


@dataclass(frozen=True, slots=True)
class Looked:
    """A batch's documents by column, one entry a document.

    Attributes:
        turns: of chats, as in `streams.chats`.
        contents: identity of text, label and, of a chat, who speaks.
        keys: signed keyed hash of the key; 0 where `keyed` is false.
        groups: hashes of what falls on one side of the split together: the key, where there is one, else the content.
        dresses: of the keys that may be another's in another dress, by hash: hashes of the plain ones, and which dress.
        content_groups: the same of the content alone.
        sizes: bytes of UTF-8.
    """

    texts: Sequence[str]
    turns: Sequence[str | None]
    sources: Sequence[str]
    labels: Sequence[str | None]
    event_times: Sequence[float | None]
    arrivals: Sequence[float]
    partitions: Sequence[Partition]
    offsets: Int64s
    contents: UInt64s
    keys: Int64s
    keyed: Bools
    groups: UInt64s
    content_groups: UInt64s
    sizes: Int64s
    dresses: Mapping[int, tuple[tuple[int, str], ...]]
    sketches: Sketches

    def __len__(self) -> int:
        return len(self.texts)


class _Key(NamedTuple):
    identity: int
    group: int
    dresses: tuple[tuple[int, str], ...]


class Looker:
    """Looks at documents under the store's secret."""

    def __init__(self, secret: bytes) -> None:
        self.hasher = Hasher(secret)
        # Caches of this object, not of its class: what they hold depends on the store's secret.
        self._key = lru_cache(KEYS_REMEMBERED)(self._look_at_key)
        self._label = lru_cache(LABELS_REMEMBERED)(self.hasher.label)

    def look(self, documents: Sequence[Document]) -> Looked:
        """Everything about the documents that depends on them alone.

        Raises:
            MisplacedText: a text holds lone surrogates.
        """
        # `zip` of no documents gives no columns at all.
        columns: Any = tuple(zip(*documents, strict=True)) or ((),) * len(Document._fields)
        texts, sources, keys, labels, event_times, arrivals, partitions, offsets, turns = columns
        encoded = _encode(texts)
        normalised = normalise(encoded)
        contents, by_content = self.hasher.contents(normalised).T
        key_hashes, keyed, groups, dresses = self._by_key(keys, by_content)
        return Looked(
            texts=texts,
            turns=turns,
            sources=sources,
            labels=labels,
            event_times=event_times,
            arrivals=arrivals,
            partitions=partitions,
            offsets=np.array(offsets, np.int64),
            contents=contents ^ self._label_hashes(labels) ^ self._label_hashes(list(map(_speakers, turns))),
            keys=key_hashes,
            keyed=keyed,
            groups=groups,
            content_groups=by_content,
            sizes=np.fromiter(map(len, encoded), np.int64, len(encoded)),
            sketches=sketch(normalised),
            dresses=dresses,
        )

    def _look_at_key(self, key: str) -> _Key:
        plain = tuple((self.hasher.key(plain_key)[0], how) for plain_key, how in similar_keys.plain(key).items())
        return _Key(*self.hasher.key(key), plain)

    def _by_key(
        self, keys: Sequence[str | None], groups: UInt64s
    ) -> tuple[Int64s, Bools, UInt64s, dict[int, tuple[tuple[int, str], ...]]]:
        """Hashes of keys, where there are keys, groups (a key's, where there is one, else the content's), dresses."""
        hashes = np.zeros(len(keys), np.int64)
        keyed = np.array([key is not None for key in keys], bool)
        if not keyed.any():
            return hashes, keyed, groups, {}
        pairs = [self._key(key) for key in keys if key is not None]
        hashes[keyed] = [pair[0] for pair in pairs]
        # The groups are the contents' own hashes, which are used beside these.
        mixed = groups.copy()
        mixed[keyed] = np.array([pair[1] for pair in pairs], np.uint64)
        return hashes, keyed, mixed, {pair[0]: pair[2] for pair in pairs if pair[2]}

    def _label_hashes(self, labels: Sequence[str | None]) -> UInt64s:
        if not any(labels):
            return np.zeros(len(labels), np.uint64)
        return np.array([0 if label is None else self._label(label) for label in labels], np.uint64)


def _speakers(turns: str | None) -> str | None:
    """By which a chat is told from a document, and from another chat, of the same text; None for a document."""
    return None if turns is None else f"chat: {', '.join(roles(turns))}"


def _encode(texts: Sequence[str]) -> list[bytes]:
    try:
        return [text.encode() for text in texts]
    except UnicodeEncodeError as error:
        raise MisplacedText(
            f"A document's text is not valid Unicode ({error.reason}); the filters should have stopped it. "
            "Nothing of its batch was stored."
        ) from error
