"""What the commands share: options, settings read once, and facts printed for a person or a script."""

import inspect
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    from daemon.control import Control
    from daemon.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")

json_option = click.option("--json", "as_json", is_flag=True, help="Print facts as JSON.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask first.")


def example(*lines: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Add an example to a command's help, below its own docstring, in lines that click leaves as they are."""

    def add(function: Callable[P, R]) -> Callable[P, R]:
        shown = "\n".join(f"  $ {line}" for line in lines)
        function.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\n\b\nExample:\n{shown}\n"
        return function

    return add


class Invocation:
    """One call of `riverkeep`: which settings it is about.

    Args:
        config: the file named on the command line; None: the usual places.
    """

    def __init__(self, config: Path | None) -> None:
        self.named = config

    def config_file(self) -> Path | None:
        """The settings file in use."""
        from daemon.settings import config_file

        return config_file(self.named)

    def settings(self, *, files: bool = False) -> "Settings":
        """The settings. Raises BadSettings, which `main` prints."""
        from daemon import logs
        from daemon.settings import load

        # Until a command that runs for long says otherwise: what a room has to tell beside the answer.
        logs.configure(level="warning")
        return load(self.config_file(), files=files)

    @contextmanager
    def control(self, *, write: bool = False) -> Iterator["Control"]:
        """Who answers: the running daemon, else the store itself."""
        from daemon.reach import reach

        with reach(self.settings(), write=write) as control:
            yield control


pass_invocation = click.make_pass_decorator(Invocation)


def print_json(facts: Any) -> None:
    """Print facts as JSON on standard output."""
    click.echo(json.dumps(facts, indent=2, ensure_ascii=False, default=str))


def say(message: str) -> None:
    """Print a sentence on standard error, where it stays out of what a script reads."""
    click.echo(message, err=True)
