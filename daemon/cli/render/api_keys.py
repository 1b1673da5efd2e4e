"""Whose API keys there are, as a person sees it."""

from collections.abc import Sequence
from typing import Any

from rich.markup import escape

from daemon.cli.render.screen import console, table


def print_keys(facts: Sequence[dict[str, Any]]) -> None:
    """A line for each key of the file."""
    shown = table("name", "kept as", "limits of its own", "tokens today")
    for key in facts:
        kept = "revoked" if key["revoked"] else "plain text" if key["plain_text"] else "hash"
        limits = ", ".join(
            f"{name} {'none' if value is None else f'{value:,}'}" for name, value in key["limits"].items()
        )
        taken = "-" if key["tokens_today"] is None else f"{key['tokens_today']:,}"
        shown.add_row(escape(key["name"]), kept, limits or "-", taken)
    console.print(shown)
    if any(key["plain_text"] for key in facts):
        console.print(
            "Whoever reads the file has the keys in plain text: `riverkeep keys add NAME --stdin` hashes one."
        )
