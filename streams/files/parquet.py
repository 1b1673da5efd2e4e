"""The rows of a Parquet file as JSON records."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from streams.errors import DamagedFile, UnreadableFile
from streams.files.splitting import Record, bound_value

ROWS_AT_ONCE = 1024


def rows(path: Path, start: int, fields: Sequence[str], *, most: int, kept: int) -> Iterator[Record]:
    """The rows from number `start` on, each as a JSON object with the fields that are there; offsets are rows.

    Args:
        path: the file.
        start: the first row that is wanted.
        fields: names of columns; others are not read.
        most: the longest record in bytes; of a longer one only `kept` bytes are kept.
        kept: at most `most`.

    Raises:
        UnreadableFile: pyarrow is not installed, or this is no Parquet file after all.
        DamagedFile: the rest cannot be read; what came before it has been handed over.
    """
    parquet = _open(path)
    present = set(parquet.schema_arrow.names)
    # Where none of the fields is there the records say which is missing.
    columns = [name for name in dict.fromkeys(fields) if name in present] or parquet.schema_arrow.names[:1]
    number = 0
    try:
        for batch in parquet.iter_batches(ROWS_AT_ONCE, columns=columns):
            if number + batch.num_rows <= start:
                number += batch.num_rows
                continue
            for row in _values(batch):
                if number >= start:
                    value = orjson.dumps(row, default=_as_text)
                    yield Record(number, number + 1, bound_value(value, len(value), most, kept), ended=True)
                number += 1
    except (OSError, ValueError) as error:
        raise DamagedFile(
            f"{path} is damaged after row {number}: {_first_line(error)}; all before was taken"
        ) from error


def _values(batch: Any) -> list[dict[str, Any]]:
    try:
        return list(batch.to_pylist())
    except (ValueError, OverflowError):
        # Python's times have neither nanoseconds nor years beyond 9999.
        return list(_with_times_as_text(batch).to_pylist())


def _with_times_as_text(batch: Any) -> Any:
    import pyarrow as pa  # noqa: PLC0415 - an extra, 130 MB

    times = (place for place, kind in enumerate(batch.schema.types) if pa.types.is_timestamp(kind))
    for place in times:
        batch = batch.set_column(place, batch.schema.names[place], batch.column(place).cast(pa.string()))
    return batch


def _open(path: Path) -> Any:
    try:
        from pyarrow import parquet  # noqa: PLC0415 - an extra, 130 MB
    except ImportError:
        raise UnreadableFile(
            f"{path} is Parquet, which pyarrow reads: `pip install '.[parquet]'` in Riverkeep's checkout brings it"
        ) from None
    try:
        return parquet.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise UnreadableFile(f"{path} begins as Parquet and cannot be read as such: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _as_text(value: object) -> str:
    """What JSON has no type for: decimals, and bytes that are text or not."""
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else str(value)
