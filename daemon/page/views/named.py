"""A view from which the page's title follows, and what else shows the same."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedView:
    """What such a view says of itself.

    Attributes:
        title: before the name of the program.
        status: of the answer over HTTP.
        json: where the same is as JSON; empty where there is no such address.
        command: that shows the same on a terminal; empty where none does.
    """

    title: str
    status: int = 200
    json: str = ""
    command: str = ""
