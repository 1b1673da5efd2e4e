"""Files as streams: JSONL, plain text and gzip, from disk or standard input, resumed where the store left off."""

import gzip
import hashlib
import io
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from kafka.structs import TopicPartition

from streams.closing import Closing
from streams.decode import Decoder
from streams.document import Batch, Partition
from streams.errors import DamagedFile, UnreadableFile
from streams.reading import BatchBuilder, PartitionReader
from streams.record_batches import NO_TIMESTAMP, Chunk, Row
from streams.settings import KIB, MIB, StreamsSettings, TopicFormat
from streams.splitting import Split, split

STDIN = "-"
GZIP_MAGIC = b"\x1f\x8b"
HEAD = 64 * KIB
"""Files that begin alike this far are taken for the same one."""

StoredOffset = Callable[[str, int, str], int | None]
"""The store's next offset of topic, partition number, incarnation; None: it knows nothing of it."""

_DAMAGE = (OSError, EOFError, zlib.error)


class FileSource(Closing):
    """The documents of one file, as batches that a store takes like those from Kafka.

    Offsets are bytes of the (decompressed) text. A file that was replaced by one with another beginning is read
    from its start, under another incarnation.

    Args:
        path: the file; `-` for standard input.
        format_: what a record is. JSON has one object on each line.
        stored_offset: the store's offsets, so that what is stored is not read again.
        settings: limits, filters and the size of batches.
        how: what one document of a plain text is.
        name: of standard input: another name is another stream.
        labels: the labels there are; None where documents need none.
        clock: unix seconds.
        stdin: read instead of the process's own.

    Raises:
        UnreadableFile: the file cannot be opened.
        DamagedFile: not even its beginning can be read.
    """

    def __init__(
        self,
        path: str | Path,
        format_: TopicFormat,
        stored_offset: StoredOffset,
        *,
        settings: StreamsSettings | None = None,
        how: Split = "paragraph",
        name: str = "stdin",
        labels: frozenset[str] | None = None,
        clock: Callable[[], float] = time.time,
        stdin: BinaryIO | None = None,
    ) -> None:
        self._settings = settings or StreamsSettings()
        self._how: Split = "line" if format_.format == "json" else how
        self._clock = clock
        is_stdin = str(path) == STDIN
        self._shown = f"standard input ({name})" if is_stdin else str(path)
        self._raw = (stdin or sys.stdin.buffer) if is_stdin else _opened(Path(path))
        self._bytes = _unzipped(self._raw)
        try:
            self._head = self._bytes.read(HEAD)
        except _DAMAGE as error:
            self.close()
            raise DamagedFile(f"{self._shown} is damaged at its beginning: {error}") from error
        topic = f"stdin:{name}" if is_stdin else f"file:{Path(path).resolve()}"
        fingerprint = hashlib.sha256(self._head).hexdigest()[:16]
        self.partition = Partition(topic, 0, fingerprint)
        decoder = Decoder(
            format_,
            name if is_stdin else Path(path).name.partition(".")[0] or "file",
            labels=labels,
            filters=self._settings.filters,
            max_record_bytes=self._settings.max_record_bytes,
        )
        start = stored_offset(topic, 0, fingerprint) or 0
        self._reader = PartitionReader(self.partition, decoder, start, self._settings.dead_letter_bytes)

    @property
    def position(self) -> int:
        """How far it has been read, in bytes of the (decompressed) text."""
        return self._reader.position

    def close(self) -> None:
        """Close the file."""
        self._bytes.close()
        self._raw.close()

    def __iter__(self) -> Iterator[Batch]:
        """The batches from the stored offset on. Each is to be stored before the next is asked for.

        Raises:
            DamagedFile: the rest cannot be read; what came before it has been handed over.
        """
        settings, reader = self._settings, self._reader
        most, kept = settings.max_record_bytes, min(settings.dead_letter_bytes, settings.max_record_bytes)
        records = split(self._chunks(), reader.position, self._how, most=most, kept=kept)
        rows: list[Row] = []
        first = after = reader.position
        damage: Exception | None = None
        while True:
            try:
                record = next(records, None)
            except _DAMAGE as error:
                damage, record = error, None
            if record is not None:
                rows.append((record.begin, NO_TIMESTAMP, None, record.value))
                after = record.after
            full = len(rows) >= settings.batch_records or after - first >= settings.batch_bytes
            if rows and (record is None or full):
                yield self._batch(rows, first, after)
                rows, first = [], after
            if record is None:
                break
        if damage is not None:
            raise DamagedFile(f"{self._shown} is damaged after byte {after}: {damage}; all before was taken")

    def _batch(self, rows: list[Row], first: int, after: int) -> Batch:
        chunk = Chunk(TopicPartition(self.partition.topic, 0), first, after, rows, size=after - first)
        builder = BatchBuilder(records=len(rows), size=after - first)
        self._reader.read(chunk, builder.part(self.partition, first), self._clock())
        batch = builder.build()
        assert batch is not None
        return batch

    def _chunks(self) -> Iterator[bytes]:
        """The bytes from the reader's position on."""
        start = self._reader.position
        if start <= len(self._head):
            yield self._head[start:]
        elif self._bytes.seekable():
            self._bytes.seek(start)
        else:
            self._skip(start - len(self._head))
        while chunk := self._bytes.read(MIB):
            yield chunk

    def _skip(self, size: int) -> None:
        while size > 0 and (skipped := self._bytes.read(min(size, MIB))):
            size -= len(skipped)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UnreadableFile(f"{path} cannot be read: {error.strerror}; correct the path or its rights") from error


def _unzipped(raw: BinaryIO) -> BinaryIO:
    buffered = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", raw), MIB)
    try:
        is_gzip = buffered.peek(2)[:2] == GZIP_MAGIC
    except OSError as error:
        raw.close()
        raise UnreadableFile(f"{getattr(raw, 'name', 'the file')} cannot be read: {error.strerror}") from error
    return cast("BinaryIO", gzip.GzipFile(fileobj=buffered)) if is_gzip else buffered
