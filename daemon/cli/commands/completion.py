"""What a shell needs to complete commands: `completion`."""

import click

from daemon.cli.invocation import example

SHELLS = ("bash", "zsh", "fish")


@click.command(short_help="Print what a shell completes commands by.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
@example(
    "riverkeep completion bash > ~/.local/share/bash-completion/completions/riverkeep",
    "riverkeep completion zsh > ~/.zfunc/_riverkeep",
    "riverkeep completion fish > ~/.config/fish/completions/riverkeep.fish",
)
def completion(context: click.Context, shell: str) -> None:
    """Print the script by which SHELL completes commands, options and their values.

    It asks `riverkeep` itself at each completion, so that it need not be made anew for a later version.
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(context.find_root().command, {}, "riverkeep", "_RIVERKEEP_COMPLETE").source())
