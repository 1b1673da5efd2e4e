"""Secrets, each in a file of its own."""

import string
from pathlib import Path
from typing import Final

from streams.errors import BadSecret

INVISIBLE: Final = string.whitespace + "\x85\xa0\u1680\u2028\u2029\u200b\u200c\u200d\u2060\ufeff\x00\x1a"
"""What editors, forms and other systems leave around a secret, and nobody sees."""


def secret(path: Path) -> str:
    """A file's content without the line's end.

    Raises:
        BadSecret: it cannot be read or is empty.
    """
    try:
        # -sig: some editors begin a file with a byte order mark.
        text = path.read_text(encoding="utf-8-sig").strip(INVISIBLE)
    except (OSError, UnicodeDecodeError) as error:
        raise BadSecret(f"the secret in {path} cannot be read: {error}; correct the path or its rights") from error
    if not text:
        raise BadSecret(f"the secret in {path} is empty; write the password into it")
    if not text.isprintable():
        at = next(at for at, character in enumerate(text, start=1) if not character.isprintable())
        raise BadSecret(f"the secret in {path} has an invisible character at place {at}: write it anew")
    return text
