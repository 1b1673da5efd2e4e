"""Options by which a part of a long list is chosen: how many rows, and from which id on."""

from collections.abc import Callable
from typing import Any, Final

import click

from daemon.control.bounds import LARGEST_ID, MOST_ROWS

SHOWN: Final = 50
ID: Final = click.IntRange(1, LARGEST_ID)

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def limit_option(help_text: str) -> Decorator:
    """`--limit`."""
    return click.option("--limit", type=click.IntRange(1, MOST_ROWS), default=SHOWN, show_default=True, help=help_text)


def after_option(help_text: str) -> Decorator:
    """`--after`, an id; beyond the last there is nothing, which is an answer."""
    return click.option("--after", type=click.IntRange(0), default=0, callback=_at_most_the_largest, help=help_text)


def before_option() -> Decorator:
    """`--before`, an id."""
    return click.option(
        "--before", type=click.IntRange(1), callback=_at_most_the_largest, help="List those with smaller ids."
    )


def _at_most_the_largest(_context: click.Context, _option: click.Parameter, value: int | None) -> int | None:
    # A greater one overflows SQLite's integers, and would be told as a mistake.
    return None if value is None else min(value, LARGEST_ID)
