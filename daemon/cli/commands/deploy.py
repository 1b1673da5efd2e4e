"""The files by which Riverkeep is deployed, from wherever it is installed: `deploy print`."""

from pathlib import Path

import click

from daemon.cli.invocation import example, say


@click.group(short_help="Print the files for systemd, Kubernetes, Prometheus, Grafana.")
@example("riverkeep deploy print")
def deploy() -> None:
    """Print the files by which Riverkeep is deployed: those of deploy/, of this version."""


@deploy.command("print", short_help="List, print or write these files.")
@click.argument("name", required=False)
@click.option("--into", type=click.Path(path_type=Path, file_okay=False), help="Write them into this folder instead.")
@click.option("--force", is_flag=True, help="Write over files that are there and say something else.")
@example(
    "riverkeep deploy print",
    "riverkeep deploy print riverkeep.service > /etc/systemd/system/riverkeep.service",
    "riverkeep deploy print helm/riverkeep --into .",
)
def print_(name: str | None, into: Path | None, *, force: bool) -> None:
    """List the files by which Riverkeep is deployed; with NAME print that one, or list what is in that folder.

    They are those of deploy/ and of this version, whether a checkout or a wheel was installed. With --into they are
    written, all of them or what NAME says, each under its path in deploy/: what refers to another finds it there.
    """
    from daemon.cli import deployed

    if force and into is None:
        raise click.UsageError("--force is for --into: nothing else is written.")
    place = None if name is None else deployed.find(name)
    paths = deployed.files() if place is None else deployed.files([place])
    if into is not None:
        written = deployed.write(paths, into, force=force)
        say(f"Wrote {written[0] if len(written) == 1 else f'{len(written)} files into {into}'}.")
    elif place is None:
        width = max(map(len, deployed.WHAT))
        for each, what in deployed.WHAT.items():
            click.echo(f"{each:{width}}  {what}")
    elif paths == [place]:
        click.echo(deployed.text_of(place), nl=False)
    else:
        for path in paths:
            click.echo(str(path))
