"""That a record's label is none of a classifier's: the particulars of its dead letter, written and read again."""

import ast
import re
from typing import Final

PARTICULARS: Final = re.compile(
    r"field .*? is ('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"), none of the \d+ labels: ", re.DOTALL
)


def tell(field: str, label: str, labels: int, shown: str) -> str:
    """The particulars of a dead letter.

    Args:
        field: in which the label stood.
        label: as a Python literal in ASCII, cut where it is long.
        labels: how many a document may have.
        shown: the first of them.
    """
    return f"field {field} is {label}, none of the {labels} labels: {shown}"


def label_in(detail: str) -> str | None:
    """The label in such particulars, cut where it was long; None in others."""
    match = PARTICULARS.match(detail)
    return None if match is None else str(ast.literal_eval(match[1]))
