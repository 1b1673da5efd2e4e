"""Before the service runs: `init`, `check`, `doctor`, `deploy print`."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from checkpoints.kinds import KINDS
from daemon.cli.invocation import Invocation, example, in_utf8, json_option, pass_invocation, print_json, say
from daemon.errors import DaemonError
from daemon.exit_codes import ExitCode

if TYPE_CHECKING:
    from checkpoints.kinds import ModelKind


# The settings' bound on a group.
LONGEST_GROUP = 249
FITTING = """
[learner.recipe]                             # what fits here by an estimate: `riverkeep doctor` rehearses a round
"""
ASKED = "Asked for on a terminal."


@click.command(short_help="Write a short settings file.")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), default="riverkeep.toml")
@click.option("--model", help=f"The model to start from. {ASKED}")
@click.option("--kind", type=click.Choice(list(KINDS)), help="What it is; otherwise by its configuration.")
@click.option("--bootstrap-servers", help=f"Kafka's brokers, separated by commas. {ASKED}")
@click.option("--topic", help=f"The topic to read. {ASKED}")
@click.option("--text-field", help=f"The JSON field with the text; none: records are the text itself. {ASKED}")
@click.option("--label-field", help=f"Of a classifier: that with the label. {ASKED}")
@click.option("--input-field", help=f"Of pairs: that with what the model reads. {ASKED}")
@click.option("--target-field", help=f"Of pairs: that with what it is to write. {ASKED}")
@click.option("--group", help=f"Kafka's consumer group, of this project alone. {ASKED}")
@click.option("--state-dir", help="Where it keeps everything; otherwise riverkeep-state beside the file.")
@click.option("--reference", "full", is_flag=True, help="Write every setting with its default instead.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@in_utf8
@example(
    "riverkeep init --model ./SmolLM2-135M --bootstrap-servers kafka:9092 --topic news",
    "riverkeep init /etc/riverkeep/riverkeep.toml --state-dir /var/lib/riverkeep",
)
def init(path: Path, *, full: bool, force: bool, **given: str | None) -> None:
    """Write a short settings file for your own Kafka and model into PATH (otherwise ./riverkeep.toml).

    On a terminal it asks what no option says; elsewhere it writes what it would propose. The schema by which editors
    know the settings is put beside the file.
    """
    if full:
        from daemon.settings.reference import reference

        text = reference()
    else:
        if path.exists() and not force:
            raise click.UsageError(_already(path))
        text = _short(path, given)
    try:
        # Exclusive, although it was looked for above: it may have come since, while a person was asked.
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileNotFoundError:
        raise click.UsageError(f"There is no folder {path.parent} to write {path.name} into: make it first.") from None
    except FileExistsError:
        raise click.UsageError(_already(path)) from None
    # It may be a device: beside those nothing is put.
    if path.is_file():
        _write_schema(path.parent)
    say(f"Wrote {path}. Next: `riverkeep -c {path} check`, then `riverkeep -c {path} doctor`.")


def _write_schema(folder: Path) -> None:
    """Put the schema where the settings file's first line says that it is, for editors."""
    from daemon.settings.written.schema import FILE_NAME, schema_text

    try:
        (folder / FILE_NAME).write_text(schema_text(), encoding="utf-8")
    except OSError as error:
        # Nothing but an editor misses it.
        say(f"{folder / FILE_NAME} cannot be written ({error.strerror}): editors will not know the settings.")


def _what_fits(model: Path, kind: "ModelKind") -> str:
    """Settings with which a round fits into this machine's memory, where the usual ones would not; by an estimate."""
    from daemon.doctor.proposal import proposal, to_be_installed
    from daemon.sizes.model_shape import shape_of_files
    from daemon.sizes.round_memory import bytes_computed_in, left_to_round, memory_of_round
    from learner.process_settings import LearnerSettings
    from serving.settings import ServingSettings

    learner = LearnerSettings()
    memory = memory_of_round(learner)
    computed = bytes_computed_in(learner.recipe.precision, native_bfloat16=memory.native_bfloat16)
    shape = shape_of_files(model, kind, device_type=memory.device_type, compute_bytes=computed)
    if shape is None or (left := left_to_round(ServingSettings(), memory, shape)) is None:
        return ""
    change = proposal(shape, learner, left)
    if change is None:
        say(f"By an estimate no round with {model} fits into this machine's memory: `riverkeep doctor` says more.")
    if needed := to_be_installed(change or {}):
        say(f"A round with {model} fits with an adapter{needed}.")
    # Of the recipe, as nothing else of the learner's is set yet; JSON's words for numbers, texts and truth are TOML's.
    lines = [f"{name.removeprefix('recipe.')} = {json.dumps(value)}" for name, value in (change or {}).items()]
    return FITTING + "".join(f"{line}\n" for line in lines) if lines else ""


def _already(path: Path) -> str:
    return f"{path} is there already; --force writes over it."


def _short(path: Path, given: Mapping[str, str | None]) -> str:
    """The file's text, of what was given and what a person answers."""
    from daemon.settings.written.short_file import BESIDE, FIELDS, Needed, fields_of, kind_of_files, short_file

    # In a script there is nobody to ask, and standard error is where the question would be.
    can_ask = sys.stdin.isatty() and sys.stderr.isatty()

    def ask(name: str, question: str, proposed: str, choices: Sequence[str] = ()) -> str:
        if (answer := given.get(name)) is not None:
            return answer
        if not can_ask:
            return proposed
        return str(click.prompt(question, default=proposed, type=click.Choice(choices) if choices else str, err=True))

    model = ask("model", "The model to start from", "/models/my-model")
    # As the settings will read it: relative to their own file.
    files = path.absolute().parent / Path(model).expanduser()
    told = kind_of_files(files)
    kind: ModelKind = told or "causal-lm"
    if told is None or given.get("kind") is not None:
        kind = cast("ModelKind", ask("kind", "What it is", kind, list(KINDS)))
    servers = ask("bootstrap_servers", "Kafka's brokers, separated by commas", "localhost:9092")
    topic = ask("topic", "The topic to read", "news")
    fields = {
        name: ask(name, f"{name}: {FIELDS[name].partition(';')[0]}", name.removesuffix("_field"))
        for name in fields_of(kind)
    }
    group = ask("group", "Kafka's consumer group, of this project alone", _proposed_group(path))
    state = given.get("state_dir") or BESIDE
    needed = Needed(model, kind, [server.strip() for server in servers.split(",")], topic, fields, group, state)
    return short_file(needed) + _what_fits(files, kind)


def _proposed_group(path: Path) -> str:
    """A group that no other project has: one that was used before hides what came before its offsets."""
    folder = re.sub(r"[^A-Za-z0-9._-]+", "-", path.absolute().parent.name)
    return f"riverkeep-{folder}"[:LONGEST_GROUP].strip("-")


@click.command(short_help="List every mistake in the settings.")
@json_option
@pass_invocation
@example("riverkeep check", "RIVERKEEP_LEARNER__DEVICE=cpu riverkeep check --json")
def check(invocation: Invocation, *, as_json: bool) -> int:
    """List every mistake in the settings, each with its remedy.

    Reads what is read at start (file, environment, secrets' files) and touches nothing else. What is no mistake, but
    most probably not meant, is noted and changes no exit status: no topics, a short secret, a secret that all can read.
    """
    from daemon.doctor.notes import notes
    from daemon.settings.mistakes import BadSettings
    from daemon.settings.records import needed_of_records
    from daemon.sizes.sequence_length import length_of
    from learner.devices.gpus import describe_devices

    file = invocation.config_file()
    try:
        settings = invocation.settings(files=True)
    except BadSettings as error:
        if not as_json:
            raise
        print_json({"file": file, "mistakes": [mistake.as_facts() for mistake in error.mistakes], "notes": []})
        return ExitCode.BAD_USAGE
    noted = notes(settings)
    if as_json:
        print_json({"file": file, "mistakes": [], "notes": noted})
    else:
        for note in noted:
            say(f"Note: {note}")
        click.echo(f"No mistakes in {file or 'the environment'}; state is kept in {settings.state_dir}.")
        click.echo(f"Of records {needed_of_records(settings)}.")
        length = length_of(settings, None)
        click.echo(f"Sequences have {length.tokens:,} tokens, {length.why}.")
        learner = settings.learner
        if devices := describe_devices(learner.devices, learner.device, sharded=learner.sharded):
            click.echo(f"Rounds run {devices}.")
    return ExitCode.OK


@click.command(short_help="Say what would fail here.")
@click.option("--skip-model", is_flag=True, help="Do not load the model.")
@json_option
@pass_invocation
@example("riverkeep doctor", "riverkeep doctor --json | jq '.[] | select(.ok | not)'")
def doctor(invocation: Invocation, *, skip_model: bool, as_json: bool) -> int:
    """Say what would fail here: broker, topic rights, disk, SQLite, model, GPU memory, ports.

    Writes one small file into the state directory and removes it; joins no consumer group.
    """
    from daemon.doctor.machine import examine

    findings = examine(invocation.settings(files=True), load_model=not skip_model, say=say)
    if as_json:
        print_json([finding.as_facts() for finding in findings])
    else:
        from daemon.cli.render.findings import print_findings

        print_findings(findings)
    if any(not finding.ok for finding in findings):
        raise DaemonError("Something would fail here.") if not as_json else click.exceptions.Exit(ExitCode.FAILED)
    return ExitCode.OK


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
