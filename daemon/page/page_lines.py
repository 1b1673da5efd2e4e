"""A line of the table of pages: where it is, what it shows, and by which address and which commands the same is had."""

import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from daemon.control.answers.status import StatusAnswer
from daemon.control.arguments import Arguments
from daemon.control.operations import BY_NAME
from daemon.control.protocol import Control
from daemon.page.addresses import with_query

AS_JSON: Final = "json"
"""`?format=json`: what an address is for programs, in a browser."""
THEN: Final = " && "
"""Between the commands of a page that puts several answers together."""


@dataclass(frozen=True, slots=True)
class PageAsked:
    """What a page is drawn from.

    Attributes:
        control: answers; called in a worker thread.
        status: how things stand, which each page shows a little of.
        call: the page's arguments, by name.
    """

    control: Control
    status: StatusAnswer
    call: dict[str, Any]


@dataclass(frozen=True, slots=True)
class PageLine:
    """A page.

    Attributes:
        path: its address; a number in it is called `number`, a second one `other`.
        tab: the path of the tab that it belongs to.
        template: what draws it.
        title: may name `{number}`.
        view: what it shows; a `NamedView` names itself.
        arguments: what its address may name.
        operation: whose answer it shows, by name; empty where it shows several.
        command: that shows the same on a terminal, of the page's arguments; `as_command` makes most.
        besides: commands for what it shows beside the operation's answer.
        is_live: whether it is kept current by events.
        answer: what its address is for programs, where no operation has that address.
    """

    path: str
    tab: str
    template: str
    title: str
    view: Callable[[PageAsked], Any]
    arguments: type[Arguments] = Arguments
    operation: str = ""
    command: Callable[[Mapping[str, Any]], str] | str = ""
    besides: tuple[str, ...] = ()
    is_live: bool = False
    answer: Callable[[PageAsked], Any] | None = None

    def commands(self, call: Mapping[str, Any]) -> str:
        """What shows the same on a terminal, in one line; empty where the view itself names it."""
        command = self.command.format_map(call) if isinstance(self.command, str) else self.command(call)
        return THEN.join([command, *(each.format_map(call) for each in self.besides)])

    def json(self, call: Mapping[str, Any]) -> str:
        """Where the same is as JSON, with what the page was asked with; empty where the view itself names it."""
        if not self.operation:
            return ""
        operation = BY_NAME[self.operation]
        names = [name for name in operation.arguments.names() if f"{{{name}}}" not in operation.path]
        query = {name: call[name] for name in names if name in call and _is_asked(self.arguments, name, call)}
        return with_query(operation.path.format_map(call), {**_as_written(query), "format": AS_JSON})


def as_command(words: str, arguments: type[Arguments], **options: str) -> Callable[[Mapping[str, Any]], str]:
    """A command that is told what its page was asked with.

    Args:
        words: of the command; may name `{number}`.
        arguments: of the page, whose defaults are the command's own.
        options: by argument, the command's option; where the argument is a flag and is not set, what stands behind a
            bar (`--text|--masked`).
    """

    def command(call: Mapping[str, Any]) -> str:
        parts = [words.format_map(call)]
        for name, option in options.items():
            said, _, unsaid = option.partition("|")
            if isinstance(value := call[name], bool):
                parts += [said] if value else [unsaid] if unsaid else []
            elif _is_asked(arguments, name, call):
                parts += [said, shlex.quote(str(value))]
        return " ".join(parts)

    return command


def _is_asked(arguments: type[Arguments], name: str, call: Mapping[str, Any]) -> bool:
    return bool(call[name] != arguments.model_fields[name].default)


def _as_written(query: Mapping[str, Any]) -> dict[str, object]:
    return {name: int(value) if isinstance(value, bool) else value for name, value in query.items()}
