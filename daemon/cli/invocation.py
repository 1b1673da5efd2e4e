"""What the commands share: options, settings read once, and facts printed for a person or a script."""

import inspect
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import click

# Every command imports this file, `riverkeep --help` too: what takes time to import is imported where it is used.
if TYPE_CHECKING:
    from daemon.control.protocol import Control
    from daemon.settings.mistakes import BadSettings, Mistake
    from daemon.settings.tree import Settings

P = ParamSpec("P")
R = TypeVar("R")
A = TypeVar("A")

json_option = click.option("--json", "as_json", is_flag=True, help="Print facts as JSON.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask first.")


def example(*lines: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Add an example to a command's help, below its own docstring, in lines that click leaves as they are."""

    def add(function: Callable[P, R]) -> Callable[P, R]:
        commands = "\n".join(f"  $ {line}" for line in lines)
        # Its own indentation off first: click takes off what all lines share, which with these lines were nothing.
        function.__doc__ = f"{inspect.cleandoc(function.__doc__ or '')}\n\n\b\nExample:\n{commands}\n"
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
        from daemon.settings.load import config_file

        return config_file(self.named)

    def settings(self, *, files: bool = False) -> "Settings":
        """The settings. Raises BadSettings, which `main` prints."""
        from daemon import logs
        from daemon.settings.load import load
        from daemon.settings.mistakes import BadSettings

        # Until a command that runs for long says otherwise: what a room has to tell beside the answer.
        logs.configure(level="warning")
        file = self.config_file()
        try:
            return load(file, files=files)
        except BadSettings as error:
            if file is not None:
                raise
            # Where nothing is set at all, that the model is not is no second mistake.
            others = [mistake for mistake in error.mistakes if mistake.key != "model.path" or mistake.place]
            raise BadSettings([_no_file(), *others]) from None

    def whereabouts(self) -> "Settings | None":
        """Settings that say where state is kept, also where they have mistakes; None where nothing does."""
        from daemon.settings.mistakes import BadSettings

        try:
            return self._settings_to_reach()[0]
        except BadSettings:
            return None

    @contextmanager
    def control(self, ask: Callable[..., Any]) -> Iterator["Control"]:
        """Who answers: the running daemon, also where the settings on disk have mistakes; else the store itself.

        Args:
            ask: the operation that is meant, as a method of `Control`; what changes nothing may be asked for too.
        """
        from daemon.cli.reach import reach
        from daemon.control.operations import BY_NAME

        settings, mistakes = self._settings_to_reach()
        with reach(settings, write=BY_NAME[ask.__name__].changes_the_store, mistakes=mistakes) as control:
            if mistakes is not None:
                # Not before it is reached: where no daemon runs, these mistakes are the answer.
                say(f"riverkeep: warning: {mistakes.in_line()} Asking the daemon on {settings.state_dir} all the same.")
            yield control

    def answer(self, ask: "Callable[Concatenate[Control, P], A]", *args: P.args, **kwargs: P.kwargs) -> A:
        """What is answered to one operation, named as a method of `Control`."""
        with self.control(ask) as control:
            answer: A = getattr(control, ask.__name__)(*args, **kwargs)
            return answer

    def settings_to_reach(self) -> "Settings":
        """The settings as far as they say which daemon is meant. Raises BadSettings where they do not."""
        return self._settings_to_reach()[0]

    def _settings_to_reach(self) -> "tuple[Settings, BadSettings | None]":
        """The settings, and what is wrong with them where they say all the same which daemon is meant."""
        from daemon.settings.load import whereabouts
        from daemon.settings.mistakes import BadSettings

        try:
            return self.settings(), None
        except BadSettings as error:
            settings = whereabouts(self.config_file())
            if settings is None:
                raise
            return settings, error


_pass_invocation = click.make_pass_decorator(Invocation)


def pass_invocation(function: Callable[Concatenate[Invocation, P], R]) -> Callable[P, R]:
    """Give a command its `Invocation`, once its words are such as can be stored and shown."""
    return _pass_invocation(in_utf8(function))


def in_utf8(function: Callable[P, R]) -> Callable[P, R]:
    """Let a command run only with words that can be stored and shown."""

    @wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        _refuse_undecodable(click.get_current_context())
        return function(*args, **kwargs)

    return checked


def _refuse_undecodable(context: click.Context) -> None:
    """Raises UsageError for a word that is not UTF-8. A path may be of any bytes; a key says for itself what to do."""
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if parameter.type is not click.STRING or parameter.name == "key" or not isinstance(value, str):
            continue
        try:
            # Bytes that are no UTF-8 arrive as lone surrogates, which no database and no JSON takes.
            value.encode()
        except UnicodeEncodeError:
            raise click.UsageError(f"{parameter.opts[-1]} is not UTF-8.") from None


def _no_file() -> "Mistake":
    """What is most probably wrong where the environment alone does not say enough."""
    from daemon.settings.load import CONFIG_VARIABLE, USUAL_PLACES
    from daemon.settings.mistakes import Mistake

    places = ", ".join(map(str, USUAL_PLACES))
    problem = f"There is none: {CONFIG_VARIABLE} is not set, and none of {places} is here."
    remedy = "Name it with `--config PATH`; `riverkeep init` writes one. Or set at least RIVERKEEP_MODEL__PATH."
    return Mistake("(settings file)", None, "", problem, remedy)


def confirm(question: str, *, yes: bool) -> None:
    """Ask a person, unless they said --yes; returns where the answer is yes.

    Raises:
        click.Abort: the answer is no.
        click.UsageError: there is nobody to answer.
    """
    if yes:
        return
    try:
        # On standard error: what a script reads from standard output is the answer alone.
        agreed = click.confirm(question, err=True)
    except click.Abort:
        # click aborts alike at Ctrl-C and where standard input has ended, which asks for another remedy.
        if sys.stdin.isatty():
            raise
        raise click.UsageError("Nobody answers here, so nothing was changed: --yes goes on without asking.") from None
    if not agreed:
        raise click.Abort


def pass_json_on(context: click.Context, *, as_json: bool) -> None:
    """Let `--json` before a subcommand's name mean what it means after it."""
    if context.invoked_subcommand is not None and as_json:
        # As a default: the subcommand's own words are parsed after this.
        context.default_map = {context.invoked_subcommand: {"as_json": True}}


def print_json(facts: Any) -> None:
    """Print facts as JSON on standard output: text from outside too, with nothing that a terminal would obey."""
    from daemon.control.printable import printable_json

    # Some facts are paths.
    click.echo(printable_json(json.dumps(facts, indent=2, ensure_ascii=False, default=str)))


def show(answer: A, printer: Callable[[A], object], *, as_json: bool) -> None:
    """Print an answer as JSON, or as `told` puts it for a person."""
    if as_json:
        print_json(answer)
    else:
        printer(answer)


def say(message: str) -> None:
    """Print a sentence on standard error, where it stays out of what a script reads."""
    click.echo(message, err=True)
