"""A generation that another program answers from: its tokenizer and its configuration, and no weights."""

from transformers import PreTrainedModel

from checkpoints.generation_store import GenerationStore
from checkpoints.kinds import ModelKind
from checkpoints.load import load_outline, load_tokenizer, require_match
from checkpoints.probe.conduct import Conduct
from checkpoints.probe.lengths import named_limit
from serving.engine.loaded import LoadedGeneration
from serving.engine.running import RunningEngine
from serving.generations.verifying import tokenizer_files


def outlined(
    store: GenerationStore,
    number: int,
    kind: ModelKind,
    beside: LoadedGeneration | None,
    *,
    engine: RunningEngine | None,
    longest: int | None,
    loaded_at: float,
) -> LoadedGeneration:
    """Read of a generation what prompts and answers are made with.

    Args:
        store: where it is.
        number: of the generation.
        kind: what the model is for.
        beside: one that answers, whose tokenizer it probably has.
        engine: what answers.
        longest: most tokens of prompt and answer there; None: it does not say.
        loaded_at: unix seconds.

    Raises:
        CheckpointsError: it is missing, damaged, unsafe or unusable.
    """
    path, files = store.path(number), tokenizer_files(store, number)
    tokenizer = beside.tokenizer if beside and beside.tokenizer_files == files else load_tokenizer(path)
    outline = load_outline(path, kind)
    require_match(outline, kind, tokenizer, path)
    return LoadedGeneration.of(
        number,
        store.digest(number),
        kind,
        outline,
        tokenizer,
        loaded_at=loaded_at,
        conduct=_conduct(outline, longest),
        tokenizer_files=files,
        model_digest=store.model_digest(number),
        engine=engine,
    )


def _conduct(outline: PreTrainedModel, longest: int | None) -> Conduct:
    """How a model is to be asked that another program runs: by that program's own ways, up to the lesser limit."""
    limits = [limit for limit in (named_limit(outline.config), longest) if limit]
    return Conduct(longest=min(limits, default=None), rows_together=True)
