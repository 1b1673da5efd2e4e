"""What a round would be given if it were drawn now, off the store."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from daemon.control.answers.next_draw import DrawnPart, ForeseenSlice, NextDraw
from daemon.rounds.inputs import draw_spec, part_by_labels
from daemon.settings.tree import Settings
from memory.ledger.records import RoundDraw, SliceOutline
from memory.samples.records import Sample
from memory.store import Store


def next_draw(store: Store, settings: Settings, *, judges_again: str) -> NextDraw:
    """What a round would be given. Changes nothing; raises WrongState where there is no generation to start from.

    Args:
        store: what is drawn from.
        settings: of the recipe.
        judges_again: as in `NextDraw`.
    """
    drawn, over_quota = store.rounds.foreseen_draw(draw_spec(settings))
    # A classifier's round leaves out what it has no label for, as when it is written.
    kept, _ = part_by_labels(drawn, settings)
    return {
        "round": drawn.number,
        "parent": drawn.parent_generation,
        "parts": _parts(kept, over_quota),
        "slices": _slices(store.rounds.foreseen_slices()),
        "left_out": [
            {"what": part.what, "documents": part.documents, "setting": part.setting} for part in drawn.left_out
        ],
        "replay_ratio": settings.learner.recipe.replay_ratio,
        "judges_again": judges_again,
    }


def _parts(draw: RoundDraw, over_quota: Sequence[Sample]) -> list[DrawnPart]:
    parts = {"fresh": draw.fresh, "replay": draw.replay, "early_stop": draw.early_stop, "over_quota": over_quota}
    return [
        {"part": part, "source": source, "samples": samples, "tokens": tokens}
        for part, drawn in parts.items()
        for source, (samples, tokens) in sorted(_by_source(drawn).items())
    ]


def _by_source(samples: Iterable[Sample]) -> Mapping[str, tuple[int, int]]:
    counts: Counter[str] = Counter()
    tokens: dict[str, int] = defaultdict(int)
    for sample in samples:
        counts[sample.source] += 1
        tokens[sample.source] += sample.tokens
    return {source: (counts[source], tokens[source]) for source in counts}


def _slices(outlines: Iterable[SliceOutline]) -> list[ForeseenSlice]:
    documents: Counter[tuple[str, str]] = Counter()
    for outline in outlines:
        documents[outline.kind, outline.source] += len(outline.samples)
    return [
        {"kind": kind, "source": source, "documents": number} for (kind, source), number in sorted(documents.items())
    ]
