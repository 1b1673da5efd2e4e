"""How many tokens of the day each key has taken, on disk: so that a restart gives nobody a second day's worth.

Several processes may count in one file: each adds what it has counted since, and is told what all have.
"""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from serving.keys.whole_file import opened


class KeyUsage:
    """The file of one day at a time.

    Args:
        path: of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, day: date) -> dict[str, int]:
        """Each key's tokens of that day; none where there is no file.

        Raises:
            OSError: it cannot be read.
        """
        try:
            return _of_day(self.path.read_bytes(), day)
        except FileNotFoundError:
            return {}

    def add(self, day: date, tokens: Mapping[str, int]) -> dict[str, int]:
        """Add tokens of a day; returns each key's of that day, of all who count here.

        Of another day nothing is kept, so that the file has no more than those who asked on one day.

        Raises:
            OSError: it cannot be written; what it had, it has.
        """
        with opened(self.path, make=True) as file:
            kept = _of_day(file.content, day)
            for name, count in tokens.items():
                kept[name] = kept.get(name, 0) + count
            # Without waiting for the disk: a process that is killed loses nothing that way, a power cut may.
            text = json.dumps({"day": day.isoformat(), "tokens": kept}, indent=1, sort_keys=True)
            file.replace(text.encode(), durable=False)
        return kept


def _of_day(content: bytes, day: date) -> dict[str, int]:
    """What a file says of a day; nothing where it says nothing that can be understood."""
    try:
        found: Any = json.loads(content)
        if found["day"] != day.isoformat():
            return {}
        return {str(name): max(0, int(count)) for name, count in found["tokens"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
