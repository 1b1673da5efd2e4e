"""What becomes of generations: `rollback`, `canary`, `export`."""

from pathlib import Path

import click

from daemon.cli.invocation import Invocation, confirm, example, json_option, pass_invocation, say, show, yes_option
from daemon.control.answers.rounds import ServedAgain, TakenBack
from daemon.control.answers.status import StatusAnswer
from daemon.control.protocol import Control
from daemon.errors import Refused, UnknownThing

generation_argument = click.argument("generation", type=click.IntRange(0), required=False)


def _confirm_rollback(control: Control, generation: int | None) -> int | None:
    """Ask whether what it comes to is meant; returns the generation that was agreed to."""
    answer, canary = control.generations(), control.status().get("canary")
    serving = answer["serving"]
    if canary is not None and generation == canary["generation"]:
        confirm(_promotion(canary["generation"], canary["beside"]), yes=False)
        return generation
    if canary is not None and generation in (None, serving):
        confirm(_taking_back(canary["generation"], canary["beside"]), yes=False)
        return serving
    parents = {line["number"]: line["parent"] for line in answer["generations"]}
    target = parents.get(serving) if generation is None and serving is not None else generation
    if serving is not None and target is not None:
        besides = "" if canary is None else f", and take back generation {canary['generation']}, which is watched"
        confirm(f"Go back from generation {serving} to generation {target}{besides}?", yes=False)
    # Where there is none to go back to, the answer says so.
    return target


def _promotion(watched: int, beside: int) -> str:
    return f"Let generation {watched}, which is watched in traffic, serve at once, in place of generation {beside}?"


def _taking_back(watched: int, beside: int) -> str:
    return f"Take back generation {watched}, which is watched in traffic, so that generation {beside} answers all?"


@click.command(short_help="Serve an earlier generation.")
@generation_argument
@yes_option
@json_option
@pass_invocation
@example("riverkeep rollback", "riverkeep rollback 3 --yes")
def rollback(invocation: Invocation, generation: int | None, *, yes: bool, as_json: bool) -> None:
    """Serve an earlier GENERATION (none named: the parent of the serving one).

    The one rolled back from is not promoted again by itself. While a generation is watched in traffic, it is the one
    that is gone back from where none is named; see `riverkeep canary`.
    """
    with invocation.control(Control.rollback) as control:
        # The number that was agreed to goes along: while the person thought, another generation may have been accepted.
        target = generation if yes else _confirm_rollback(control, generation)
        served = control.rollback(target)
    show(served, _say_served, as_json=as_json)


def _say_served(served: ServedAgain) -> None:
    click.echo(f"Generation {served['to']} serves; before it did {served['from']}.")
    say("Replicas that follow the checkpoint store swap by themselves.")


@click.group(short_help="Decide on the generation that is watched in traffic.")
@example("riverkeep canary promote", "riverkeep canary take-back 4 --yes")
def canary() -> None:
    """Decide on the generation that is watched in traffic before its watch does.

    `riverkeep serving` shows how it fares.
    """


@canary.command(short_help="Let it serve at once.")
@generation_argument
@yes_option
@json_option
@pass_invocation
@example("riverkeep canary promote", "riverkeep canary promote 4 --yes")
def promote(invocation: Invocation, generation: int | None, *, yes: bool, as_json: bool) -> None:
    """Let the generation that is watched in traffic serve at once, whatever of it is not proven yet.

    With GENERATION only if it is that one. The one that serves now stays one to go back to.
    """
    with invocation.control(Control.promote_canary) as control:
        number = generation if yes else _confirm_watched(control.status(), generation, promotes=True)
        served = control.promote_canary(number)
    show(served, _say_served, as_json=as_json)


@canary.command("take-back", short_help="End its watch: it answers no more.")
@generation_argument
@yes_option
@json_option
@pass_invocation
@example("riverkeep canary take-back", "riverkeep canary take-back 4 --yes")
def take_back(invocation: Invocation, generation: int | None, *, yes: bool, as_json: bool) -> None:
    """End the watch of the generation that is watched in traffic: it answers no more, and what serves serves on.

    With GENERATION only if it is that one. By itself nothing goes to it again; `riverkeep rollback GENERATION` lets it
    serve all the same.
    """
    with invocation.control(Control.take_back_canary) as control:
        number = generation if yes else _confirm_watched(control.status(), generation, promotes=False)
        answer = control.take_back_canary(number)
    show(answer, _say_taken_back, as_json=as_json)


def _confirm_watched(facts: StatusAnswer, generation: int | None, *, promotes: bool) -> int:
    """Ask about the generation that is watched; returns its number. Raises Refused, UnknownThing where it is not."""
    watched = facts.get("canary")
    if generation is not None and (watched is None or watched["generation"] != generation):
        raise UnknownThing(f"Generation {generation} is not watched in traffic, so there is nothing to decide on.")
    if watched is None:
        raise Refused("No generation is watched in traffic, so there is nothing to decide on.")
    words = _promotion if promotes else _taking_back
    confirm(words(watched["generation"], watched["beside"]), yes=False)
    return watched["generation"]


def _say_taken_back(answer: TakenBack) -> None:
    click.echo(f"Generation {answer['generation']} is taken back; generation {answer['serving']} answers all.")


@click.command(short_help="Copy a generation out, as a whole model.")
@click.argument("generation", type=click.IntRange(0))
@click.argument("path", type=click.Path(path_type=Path))
@pass_invocation
@example("riverkeep export 7 ./model-7")
def export(invocation: Invocation, generation: int, path: Path) -> None:
    """Write GENERATION into the new directory PATH, as a model that needs nothing else: weights, tokenizer, settings.

    One that is an adapter is merged into the generation that it lies on, in main memory.
    """
    from checkpoints.export import export_generation
    from checkpoints.generation_store import GenerationStore
    from daemon.errors import UnknownThing

    settings = invocation.settings()
    store = GenerationStore(settings.checkpoints_dir)
    if generation not in store.numbers():
        raise UnknownThing(f"There is no generation {generation}; `riverkeep generations` lists those that are kept.")
    export_generation(store, generation, path, settings.model.kind)
    say(f"Wrote generation {generation} into {path}.")
