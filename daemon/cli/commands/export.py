"""A generation copied out of the state directory: `export`."""

from pathlib import Path

import click

from daemon.cli.invocation import Invocation, example, pass_invocation, say


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
