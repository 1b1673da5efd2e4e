"""The file with the API keys that open serving's door: one a line."""

import string
from pathlib import Path
from typing import Final

from serving.errors import CannotServe

COMMENT: Final = "#"
INVISIBLE: Final = string.whitespace + "\x85\xa0\u1680\u2028\u2029\u200b\u200c\u200d\u2060\ufeff\x00\x1a"
"""What editors, forms and other systems leave around a secret, and nobody sees."""


def read_keys(path: Path) -> list[str]:
    """The keys of a file, in its order. Empty lines and those that begin with `#` are none.

    Raises:
        CannotServe: the file cannot be read, holds no key, or a line that can be none.
    """
    try:
        # Some editors begin a file with a byte order mark, which would become part of the first key.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise CannotServe(f"serving.api_key_file {path} cannot be read: {error}") from error
    # Not splitlines, which ends lines at more characters than editors do: the number in an error would be another.
    lines = {number: line.strip(INVISIBLE) for number, line in enumerate(text.split("\n"), start=1)}
    keys = {number: line for number, line in lines.items() if line and not line.startswith(COMMENT)}
    if not keys:
        raise CannotServe(f"serving.api_key_file {path} holds no key; write one into it, or name no file")
    for number, key in keys.items():
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise CannotServe(
                f"serving.api_key_file {path}: line {number} is no API key: a key is letters, digits and signs of "
                "ASCII without blanks; write one key a line, and what is none behind a # at the line's start"
            )
    return list(keys.values())
