"""Files as streams: read from where the store left off, record by record, to the end or to the first damage."""

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping

import orjson
from kafka.structs import TopicPartition

from streams.chunk import NO_TIMESTAMP, Chunk, Row
from streams.closing import Closing
from streams.decoding.decode import USUAL_INPUT, USUAL_MESSAGES, USUAL_TARGET, decoder_by
from streams.decoding.needs import TEXT_ALONE, RecordNeeds
from streams.document import Batch, Partition
from streams.errors import DamagedFile
from streams.file_kinds import Look
from streams.files import parquet
from streams.files.opened_file import HEAD, OpenedFile
from streams.files.splitting import Record, Split, line_end_of, split
from streams.reading import BatchBuilder, PartitionReader
from streams.settings import StreamsSettings
from streams.topic_settings import FIELDS, TopicFormat
from streams.unpacking import Damage

StoredOffsets = Callable[[str], Mapping[str, int]]
"""The store's next offset of each incarnation that it knows of a file."""


class FileSource(Closing):
    """The documents of one file, as batches that a store takes like those from Kafka.

    Offsets are bytes of the text, decompressed and in UTF-8; of Parquet they are rows. A file that grew is read on
    from where it ended; one that was replaced by another with another beginning is read from its start, under another
    incarnation.

    Args:
        file: just opened; closed with this.
        format_: what a record is. JSON has one object on each line.
        stored_offsets: the store's offsets, so that what is stored is not read again.
        settings: limits, filters and the size of batches.
        how: what one document of a plain text is.
        ended: whether the file will not grow: else what has no end yet waits for it.
        needs: what the model that is to learn from them needs.
        clock: unix seconds.
    """

    def __init__(
        self,
        file: OpenedFile,
        format_: TopicFormat,
        stored_offsets: StoredOffsets,
        *,
        settings: StreamsSettings | None = None,
        how: Split = "paragraph",
        ended: bool = True,
        needs: RecordNeeds = TEXT_ALONE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._file = file
        self._format = format_
        self._settings = settings or StreamsSettings()
        self._how: Split = "line" if format_.format == "json" else how
        self._ended = ended
        self._clock = clock
        self._waiting = 0
        self.partition = Partition(file.topic, 0, _incarnation(file.head))
        decoder = decoder_by(self._settings, format_, file.source, needs=needs)
        start = _start(file.head, stored_offsets(file.topic))
        self._reader = PartitionReader(self.partition, decoder, start, self._settings.dead_letter_bytes)

    @property
    def position(self) -> int:
        """How far it has been read: bytes of the text, or rows."""
        return self._reader.position

    @property
    def waiting(self) -> int:
        """After the last batch: bytes at the end that wait, as what they belong to may still be written."""
        return self._waiting

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __iter__(self) -> Iterator[Batch]:
        """The batches from the stored offset on. Each is to be stored before the next is asked for.

        Raises:
            DamagedFile: the rest cannot be read; what came before it has been handed over.
            UnreadableFile: it is Parquet, and that cannot be read here.
        """
        settings, records = self._settings, self._records()
        rows: list[Row] = []
        first = end = self._reader.position
        damage: Exception | None = None
        while True:
            try:
                record = next(records, None)
            except (Damage, DamagedFile, OSError) as error:
                damage, record = error, None
            if record is not None and self._must_wait(record):
                # Left out of the batch, so that the stored offset stays before it: the next reading finds it grown.
                self._waiting, record = record.after - record.begin, None
            if record is not None:
                rows.append((record.begin, NO_TIMESTAMP, None, record.value))
                end = record.after
            full = len(rows) >= settings.batch_records or end - first >= settings.batch_bytes
            if rows and (record is None or full):
                yield self._batch(rows, first, end)
                rows, first = [], end
            if record is None:
                break
        # After the last batch: what is whole has been handed over.
        if isinstance(damage, DamagedFile):
            raise damage
        if damage is not None:
            raise DamagedFile(
                f"{self._file.shown} is damaged after byte {end:,} of its text: {damage}; all before was taken"
            )

    def _records(self) -> Iterator[Record]:
        file, settings, start = self._file, self._settings, self._reader.position
        most, kept = settings.max_record_bytes, min(settings.dead_letter_bytes, settings.max_record_bytes)
        if file.look is Look.PARQUET:
            assert file.path is not None
            columns = [name for field in FIELDS if (name := getattr(self._format, field))]
            columns += (USUAL_MESSAGES, USUAL_INPUT, USUAL_TARGET)
            return parquet.rows(file.path, start, columns, most=most, kept=kept)
        line_end = line_end_of(file.head)
        return split(file.chunks(start), start, self._how, most=most, kept=kept, line_end=line_end)

    def _must_wait(self, record: Record) -> bool:
        """Whether more may belong to a record: an object that is closed is whole, also without an end of its line."""
        if record.ended or self._ended:
            return False
        return self._format.format == "text" or not _is_whole_json(record)

    def _batch(self, rows: list[Row], first: int, end: int) -> Batch:
        chunk = Chunk(TopicPartition(self.partition.topic, 0), first, end, rows, size=end - first)
        builder = BatchBuilder(records=len(rows), size=end - first)
        self._reader.read(chunk, builder.part(self.partition, first), self._clock())
        batch = builder.build()
        assert batch is not None
        return batch


def _is_whole_json(record: Record) -> bool:
    if not isinstance(record.value, bytes):
        return False
    try:
        return isinstance(orjson.loads(record.value), dict | list)
    except orjson.JSONDecodeError:
        return False


def _incarnation(head: bytes) -> str:
    """Names a file by its beginning: of one that is shorter than `HEAD` with the length, as it may grow."""
    digest = hashlib.sha256(head).hexdigest()[:16]
    return digest if len(head) == HEAD else f"{digest}@{len(head)}"


def _start(head: bytes, stored: Mapping[str, int]) -> int:
    """Where to begin: where the store left off in this file, or in what it was before it grew."""
    # A small file that grew is known by each of its beginnings: the furthest offset is what was stored.
    return max((offset for incarnation, offset in stored.items() if _has_begun_so(head, incarnation)), default=0)


def _has_begun_so(head: bytes, incarnation: str) -> bool:
    digest, _, length = incarnation.partition("@")
    beginning = head[: int(length)] if length.isdecimal() else head
    return hashlib.sha256(beginning).hexdigest()[:16] == digest and (not length or len(head) >= int(length))
