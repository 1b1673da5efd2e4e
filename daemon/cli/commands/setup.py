"""Before the service runs: `init`, `check`, `doctor`."""

import re
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from checkpoints.kinds import KINDS
from daemon.cli.invocation import Invocation, example, json_option, pass_invocation, print_json, say
from daemon.errors import DaemonError
from daemon.exit_codes import ExitCode

if TYPE_CHECKING:
    from checkpoints.kinds import ModelKind


TEMPLATE = """\
# What Riverkeep needs to know of yours. `riverkeep init --reference` writes every setting with its default.
state_dir = "riverkeep-state"                # everything it keeps; relative paths start at this file

[model]
{path}# a Hugging Face directory (safetensors) or a .gguf file
{kind}# or {others}

[streams]
bootstrap_servers = [{servers}]
{group}# this project's own: another with the same shares its partitions

[[streams.topics]]
name = {topic}
"""
TEXT = """\
text_field = "text"                          # the JSON field; or format = "text" for plain text
"""
PAIR = """\
input_field = "input"                        # the JSON field with what the model reads
target_field = "target"                      # and that with what it is to write for it
"""
COMMENTS_AT = 45
# The settings' bound on a group.
LONGEST_GROUP = 249
FITTING = """
[learner.recipe]                             # what fits here by an estimate: `riverkeep doctor` rehearses a round
"""
LABEL = """\
label_field = "label"                        # the JSON field with one of the classifier's labels
"""


@click.command(short_help="Write a short settings file.")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), default="riverkeep.toml")
@click.option("--model", default="/models/my-model", help="The model to start from.")
@click.option("--kind", type=click.Choice(list(KINDS)), default="causal-lm", help="What it is.")
@click.option("--bootstrap-servers", default="localhost:9092", help="Kafka's brokers, separated by commas.")
@click.option("--topic", default="news", help="The topic to read.")
@click.option("--group", help="Kafka's consumer group, of this project alone. Asked for on a terminal.")
@click.option("--reference", "full", is_flag=True, help="Write every setting with its default instead.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@example("riverkeep init --model ./SmolLM2-135M --bootstrap-servers kafka:9092 --topic news")
def init(
    path: Path,
    model: str,
    kind: "ModelKind",
    bootstrap_servers: str,
    topic: str,
    *,
    group: str | None,
    full: bool,
    force: bool,
) -> None:
    """Write a short settings file for your own Kafka and model into PATH (otherwise ./riverkeep.toml)."""
    if full:
        from daemon.settings.reference import reference

        text = reference()
    else:
        if path.exists() and not force:
            raise click.UsageError(_already(path))
        text = _short(model, kind, bootstrap_servers, topic, group or _ask_for_group(path))
        # As the settings will read it: relative to their own file.
        text += _what_fits(path.absolute().parent / model, kind)
    try:
        # Exclusive, although it was looked for above: it may have come since, while a person was asked.
        with path.open("w" if force else "x", encoding="utf-8") as file:
            file.write(text)
    except FileNotFoundError:
        raise click.UsageError(f"There is no folder {path.parent} to write {path.name} into: make it first.") from None
    except FileExistsError:
        raise click.UsageError(_already(path)) from None
    say(f"Wrote {path}. Next: `riverkeep -c {path} check`, then `riverkeep -c {path} doctor`.")


def _what_fits(model: Path, kind: "ModelKind") -> str:
    """Settings with which a round fits into this machine's memory, where the usual ones would not; by an estimate."""
    from daemon.doctor.proposal import proposal
    from daemon.sizes.estimate import serving_bytes
    from daemon.sizes.free_memory import free_bytes, free_gpu_bytes
    from daemon.sizes.model_shape import shape_of_files
    from learner.settings import RecipeSettings

    on_gpu = free_gpu_bytes()
    shape = shape_of_files(model, kind, device_type="cpu" if on_gpu is None else "cuda")
    if shape is None:
        return ""
    free = (free_bytes() if on_gpu is None else on_gpu) - serving_bytes(shape)
    change = proposal(shape, RecipeSettings(), free)
    if change is None:
        say(f"By an estimate no round with {model} fits into this machine's memory: `riverkeep doctor` says more.")
    lines = [f"{name} = {str(value).lower()}" for name, value in (change or {}).items()]
    return FITTING + "".join(f"{line}\n" for line in lines) if lines else ""


def _already(path: Path) -> str:
    return f"{path} is there already; --force writes over it."


def _ask_for_group(path: Path) -> str:
    """A group that no other project has: one that was used before hides what came before its offsets."""
    folder = re.sub(r"[^A-Za-z0-9._-]+", "-", path.absolute().parent.name)
    proposed = f"riverkeep-{folder}"[:LONGEST_GROUP].strip("-")
    # In a script there is nobody to ask, and standard error is where the question would be.
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return proposed
    return str(click.prompt("Kafka's consumer group, of this project alone", default=proposed, err=True))


def _short(model: str, kind: str, bootstrap_servers: str, topic: str, group: str) -> str:
    import json

    # JSON's strings are TOML's too, but for what lies above U+FFFF: as escapes those are pairs, which TOML refuses.
    quote = partial(json.dumps, ensure_ascii=False)
    servers = ", ".join(quote(server.strip()) for server in bootstrap_servers.split(","))
    short = TEMPLATE.format(
        path=f"path = {quote(model)} ".ljust(COMMENTS_AT),
        kind=f'kind = "{kind}" '.ljust(COMMENTS_AT),
        others=" or ".join(quote(other) for other in KINDS if other != kind),
        servers=servers,
        topic=quote(topic),
        group=f"group_id = {quote(group)} ".ljust(COMMENTS_AT),
    )
    return short + {"classifier": TEXT + LABEL, "seq2seq": PAIR}.get(kind, TEXT)


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
