"""What runs for long: `demo`, `run`, `serve`."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from daemon.cli.invocation import Invocation, example, pass_invocation
from daemon.exit_codes import ExitCode

if TYPE_CHECKING:
    from daemon.settings.tree import Settings


@click.command(short_help="Show it all in three minutes.")
@click.option("--keep", is_flag=True, help="Leave everything running at the end, until Ctrl-C.")
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder to write into, where it stays; otherwise a new one among the temporary ones.",
)
@example("riverkeep demo", "riverkeep demo --keep")
def demo(home: Path | None, *, keep: bool) -> int:
    """Show it all in three minutes: a broker, text arriving, rounds, swaps, and a poisoned batch refused.

    Needs nothing but this package with its extra `demo`.
    """
    from daemon.demo import story

    return story.run(home=home, keep=keep)


@click.command(short_help="Run the service.")
@pass_invocation
@example("riverkeep -c /etc/riverkeep/riverkeep.toml run")
def run(invocation: Invocation) -> int:
    """Run the service until SIGTERM: take text in, run rounds, watch serving.

    SIGHUP reads the settings, the admin token and the serving process's API keys again, SIGUSR1 asks for a round.
    """
    from daemon import service

    settings = invocation.settings(files=True)
    _configure_logs(settings)
    return service.run(settings, config_file=invocation.config_file())


@click.command(short_help="Answer requests, alone.")
@pass_invocation
@example("riverkeep serve", "RIVERKEEP_SERVING__PORT=8401 riverkeep serve")
def serve(invocation: Invocation) -> int:
    """Answer requests from the serving generation, alone: a replica that follows the checkpoint store.

    `riverkeep run` starts one by itself; use this for more, on this machine or another that sees the store. API keys
    that change in their file are taken by itself.
    """
    import signal

    # Until the application heeds it: it reads its keys later than this anyway.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    from checkpoints.quick_imports import quick_imports
    from serving.keys.entries import read_entries

    settings = invocation.settings(files=True)
    _configure_logs(settings)
    # Here too: a mistake is told of before seconds of imports.
    if settings.serving.api_key_file is not None:
        read_entries(settings.serving.api_key_file)
    with quick_imports():
        from serving.run import serve as answer
        from serving.tracing.begin import traced

    recipe = settings.learner.recipe
    with traced(settings.tracing, "serving") as tracing:
        answer(
            settings.serving,
            settings.checkpoints_dir,
            settings.model.kind,
            recipe_length=recipe.sequence_length,
            feedback_directory=settings.feedback_dir,
            usage=settings.key_usage,
            tracing=tracing,
        )
    return ExitCode.OK


def _configure_logs(settings: "Settings") -> None:
    from daemon import logs

    logs.configure(level=settings.log.level, format=settings.log.format)
