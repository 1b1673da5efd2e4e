"""The command line: `riverkeep`. Heavy modules are imported by the command that needs them, when it runs."""

import difflib
import importlib
import sys
from pathlib import Path

import click

from daemon.cli.invocation import Invocation
from daemon.cli.old_spellings import MOVED, refusal
from daemon.cli.standard_streams import open_standard_streams, write_no_more
from daemon.errors import DaemonError, said_by_the_system
from daemon.exit_codes import ExitCode

COMMANDS = {
    "demo": "service:demo",
    "init": "setup:init",
    "check": "setup:check",
    "doctor": "setup:doctor",
    "config": "config:config",
    "completion": "completion:completion",
    "deploy": "setup:deploy",
    "run": "service:run",
    "serve": "service:serve",
    "status": "status:status",
    "watch": "status:watch",
    "streams": "status:streams",
    "serving": "status:serving",
    "peek": "look_back:peek",
    "round": "rounds:round_",
    "explain": "look_back:explain",
    "trace": "look_back:trace",
    "generations": "status:generations",
    "compare": "compare:compare",
    "rollback": "generations:rollback",
    "canary": "generations:canary",
    "export": "generations:export",
    "memory": "memory:memory",
    "audit": "look_back:audit",
    "mcp": "assistants:mcp",
    "feedback": "feedback:feedback",
    "forget": "people:forget",
    "keys": "api_keys:keys",
    "backfill": "backfill:backfill",
}
"""Each command, where in daemon.cli.commands it is; in the order of the help."""

# By name: a room that was not imported raises nothing, so none is imported to catch its errors.
ROOM_ERRORS = {
    "streams.errors": "StreamsError",
    "memory.errors": "StoreError",
    "checkpoints.errors": "CheckpointsError",
    "learner.errors": "LearnerError",
    "serving.errors": "ServingError",
}

EXIT_CODES = "\n".join(
    (
        "\b",
        "Exit status:",
        "    0  done",
        "    1  tried and failed; doctor: something would fail here",
        "    2  wrong command line or settings; check: there are mistakes",
        "    3  refused: by the gate, or in the daemon's present state",
        "    4  no such round, generation, dead letter, partition or key; memory find: nothing is known of that person",
        "    5  status: no daemon runs",
        "    6  another daemon holds the state directory",
        "  130  stopped by Ctrl-C",
    )
)


class LazyGroup(click.Group):
    """Imports a command's module when it is asked for, so that one command does not pay for another."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The commands in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in COMMANDS:
            # While a shell asks for completions the word is not finished yet, and nothing may be printed.
            if not ctx.resilient_parsing:
                self._suggest(ctx, cmd_name)
            return None
        module, _, name = COMMANDS[cmd_name].partition(":")
        command = getattr(importlib.import_module(f"daemon.cli.commands.{module}"), name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is meant, and its words. Raises BadRequest for one that is found elsewhere now."""
        if args[0] in MOVED and not ctx.resilient_parsing:
            raise refusal(args, [*MOVED[args[0]], *args[1:]])
        return super().resolve_command(ctx, args)

    def _suggest(self, ctx: click.Context, name: str) -> None:
        """Raises UsageError where a command was most probably meant."""
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        if near:
            ctx.fail(f"No such command '{name}'. Did you mean '{near[0]}'?")


@click.group(
    cls=LazyGroup,
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The settings file. Otherwise $RIVERKEEP_CONFIG, ./riverkeep.toml, /etc/riverkeep/riverkeep.toml.",
)
@click.version_option(package_name="riverkeep", prog_name="riverkeep")
@click.pass_context
def cli(context: click.Context, config: Path | None) -> None:
    """Keeps a language model current with live text, and keeps what it already knew.

    \b
    Example:
      $ riverkeep init && riverkeep check && riverkeep run
    """  # noqa: D301 - click's mark of lines it leaves alone
    context.obj = Invocation(config)


def main() -> None:
    """Run the command line and leave with its exit status."""
    open_standard_streams()
    try:
        # Standalone, click would end the process itself, with exit statuses of its own.
        code = cli.main(prog_name="riverkeep", standalone_mode=False)
        # While errors are still caught: at the interpreter's end a broken pipe or a full disk would be a traceback.
        sys.stdout.flush()
    except DaemonError as error:
        code = _fail(str(error), error.exit_code)
    except click.ClickException as error:
        error.show()
        code = ExitCode.BAD_USAGE
    except (click.Abort, KeyboardInterrupt):
        code = _fail("stopped", ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # `riverkeep round list | head`: who reads has had enough.
        write_no_more()
        code = ExitCode.OK
    # A full disk among them: what is left in the buffer would fail once more at the interpreter's end, as a traceback.
    except _expected_errors() as error:
        write_no_more()
        code = _fail(_describe(error), ExitCode.FAILED)
    sys.exit(int(code or 0))


def _describe(error: BaseException) -> str:
    """An error for a person: the system's own without its number."""
    if not isinstance(error, OSError):
        return str(error)
    reason = said_by_the_system(error)
    if isinstance(error, PermissionError):
        reason += ". Run the command as the service's user, or give this one rights to it."
    return reason if error.filename is None else f"{error.filename}: {reason}"


def _fail(message: str, code: ExitCode) -> ExitCode:
    click.echo(f"riverkeep: {message}", err=True)
    return code


def _expected_errors() -> tuple[type[Exception], ...]:
    """Errors whose message is for a person: the system's, and the rooms' that this command has imported."""
    imported = [(module, name) for module, name in ROOM_ERRORS.items() if module in sys.modules]
    return (OSError, *(getattr(sys.modules[module], name) for module, name in imported))


if __name__ == "__main__":
    main()
