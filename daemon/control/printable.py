"""Text from outside, for people to read: nothing in it moves a cursor, hides or turns around what stands there."""

import re
import unicodedata

# Controls, formats (those that turn the direction too), lone surrogates, separators of lines and paragraphs.
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# Plain ASCII, the most of any text, is passed over without a look at its category.
_SUSPECT = re.compile(r"[^\n\t -~]")
_SUSPECT_IN_JSON = re.compile(r"[^\n -~]")


def printable(text: str) -> str:
    """Text from outside with control and invisible characters as backslash escapes; line ends and tabs stay."""
    return _SUSPECT.sub(lambda match: _escape(match[0]), text)


def inline(text: str) -> str:
    """`printable` within a line."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def printable_json(document: str) -> str:
    """A JSON document that says the same, with control and invisible characters in its strings as JSON escapes."""
    return _SUSPECT_IN_JSON.sub(lambda match: _escape_in_json(match[0]), document)


def _escape(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN:
        return character
    return character.encode("unicode_escape").decode()


def _escape_in_json(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN:
        return character
    # JSON escapes what lies above U+FFFF as a pair of surrogates.
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
