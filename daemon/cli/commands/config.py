"""The settings as they count, and as editors know them: `config show`, `config schema`."""

import os
from typing import TYPE_CHECKING

import click

from daemon.cli.invocation import Invocation, example, json_option, pass_invocation, show
from daemon.control.protocol import Control

if TYPE_CHECKING:
    from daemon.control.answers.settings import SettingsAnswer


@click.group(short_help="Show the settings in force, or their schema.")
@example("riverkeep config show learner.recipe", "riverkeep config schema")
def config() -> None:
    """Show the settings in force and where each came from, or the schema of the settings file."""


@config.command("show", short_help="Show each setting and where it came from.")
@click.argument("key", required=False)
@click.option("--written", is_flag=True, help="Leave out what nobody wrote and is as it is by default.")
@json_option
@pass_invocation
@example("riverkeep config show", "riverkeep config show learner.recipe --written")
def show_(invocation: Invocation, key: str | None, *, written: bool, as_json: bool) -> None:
    """Show each value in force and where it came from: file and line, variable, default; with KEY only what is below.

    Where a daemon runs, what is in force in it, and what was written since and waits for a reload or a restart; else
    what one would start with. What may be a secret is not shown.
    """
    from daemon.cli.render.settings import print_settings
    from daemon.control.facts.settings_shown import only

    show(only(_in_force(invocation), key, written=written), print_settings, as_json=as_json)


@config.command("schema", short_help="Print the JSON Schema of the settings file.")
@example("riverkeep config schema > riverkeep.schema.json")
def schema() -> None:
    """Print the JSON Schema of the settings file, by which editors complete and check it.

    Beside the settings file as riverkeep.schema.json it is found by the line `#:schema` that `riverkeep init` writes.
    """
    from daemon.settings.written.schema import schema_text

    click.echo(schema_text(), nl=False)


def _in_force(invocation: Invocation) -> "SettingsAnswer":
    """Of the daemon that runs, else of the file."""
    from daemon.control.facts.settings_shown import settings_shown
    from daemon.lifecycle.lock import holder_of

    settings = invocation.settings_to_reach()
    if holder_of(settings.state_dir) is not None:
        return invocation.answer(Control.settings)
    # Without a daemon mistakes are the answer, as of every command.
    return settings_shown(invocation.settings(), invocation.config_file(), os.environ, running=False)
