"""What a round's new text is like before it is trained on: how the parent reads it, and whether that is plausible."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from checkpoints.card import ModelKind
from checkpoints.matching import rows_of
from learner.directory.plausibility_bounds import PlausibilityBounds
from learner.directory.report import PrequentialDocument
from learner.directory.round_directory import RoundSample, TextSample
from learner.evaluation.coherence import coherence
from learner.evaluation.document_scores import mean_nll
from learner.evaluation.familiarity import MOST_DOCUMENTS, RememberedWords
from learner.evaluation.known_labels import count_new, known_labels
from learner.evaluation.text_plausibility import (
    RANDOM_DOCUMENTS,
    RANDOM_LENGTH,
    SURE,
    USUAL_DOCUMENTS,
    compare,
    copied_shares,
    repetition_share,
)
from learner.material.encoding import Encoded
from learner.workbench import Workbench
from streams.chats import learned_text
from streams.decoding.several_labels import members

REMEMBERED = 4
"""Replayed documents whose phrases are known, for each new one: templates that memory holds are no news."""

ABOVE_USUAL = 1.0
"""Nats per token."""
LIKE_RANDOM = 0.9
"""Of the loss of random tokens: 0.7 of it is what a language costs that a model never saw, garbage costs all of it."""


@dataclass(frozen=True, slots=True)
class NewText:
    """A round's new text before it is trained on.

    Attributes:
        documents: a random sample of it, or all, under the parent.
        new_labels: of a classifier, the labels that the parent has not learned, with the documents of each.
    """

    documents: tuple[PrequentialDocument, ...]
    new_labels: Mapping[str, int] = field(default_factory=dict)


def prequential(bench: Workbench, fresh: Encoded, replay: Encoded) -> NewText:
    """Score new documents, or a random sample of them, under the parent before it trains on them."""
    drawn = _drawn(bench, fresh)
    text, count = fresh.take(drawn), len(drawn)
    remembered = _spread(replay, REMEMBERED * count)
    # Of chats what the assistant says: a system's words are the same in all of them, and no fault of the text.
    tokens = [text.learned_of(at).tolist() for at in range(count)]
    copied = copied_shares(tokens, (replay.learned_of(at).tolist() for at in remembered))
    texts = [_said(sample) for sample in fresh.samples]
    ordered = coherence(texts, drawn, (_said(replay.samples[at]) for at in remembered), seed=bench.given.spec.seed)
    words = RememberedWords(_said(replay.samples[at]) for at in _spread(replay, MOST_DOCUMENTS))
    known = None if bench.shape.classes is None else known_labels(bench, replay)
    documents = tuple(
        replace(
            document,
            repetition=max(repetition_share(tokens[at]), copied[at]),
            coherent=ordered[at] if document.coherent is None else document.coherent,
            strangeness=words.strangeness(_said(text.samples[at])),
        )
        for at, document in enumerate(_read(bench, text, known, replay))
    )
    return NewText(documents, {} if known is None else count_new(bench.given.fresh, known))


def _said(sample: TextSample) -> str:
    return learned_text(sample.text, sample.turns)


def _read(
    bench: Workbench, text: Encoded, known: frozenset[str] | None, replay: Encoded
) -> Iterator[PrequentialDocument]:
    """What the parent makes of each document.

    Args:
        known: the labels that it has learned; None for a causal LM.
        replay: remembered text, by which it is known how well a causal LM reads.
    """
    if known is None:
        worst = _worst_reading(bench, replay)
        for sample, score in zip(text.samples, bench.evaluate(bench.model, text), strict=True):
            # A loss that is no number is no language either.
            coherent = None if score.nll <= worst * score.tokens else False
            yield PrequentialDocument(score.id, sample.source, score.nll, score.tokens, 0.0, coherent)
        return
    for sample, (score, sureness) in zip(text.samples, bench.evaluate.with_sureness(bench.model, text), strict=True):
        is_new = not members(sample.label) <= known
        contradicted = not is_new and not score.correct and sureness >= SURE
        read = PrequentialDocument(
            score.id, sample.source, score.nll, score.tokens, 0.0, contradicted=contradicted, new_label=is_new
        )
        yield read if bench.evaluate.several else replace(read, answer=score.predicted, label=sample.label)


def _drawn(bench: Workbench, fresh: Encoded) -> list[int]:
    """Which new documents are looked at: all, or a random sample of them."""
    spec = bench.given.spec
    random = np.random.Generator(np.random.PCG64([spec.seed, 2]))
    count = min(len(fresh), spec.plausibility_documents)
    # In the order of arrival: a document counts as copied where an earlier one has its phrases.
    drawn: list[int] = np.sort(random.choice(len(fresh), count, replace=False)).tolist()
    return drawn


def _worst_reading(bench: Workbench, replay: Encoded) -> float:
    """The loss beyond which a causal LM reads a text as it reads none that is merely new, in nats per token.

    A language that it never saw it reads badly, but not as badly as tokens that were drawn at random, which is how what
    another tokenizer decoded looks to it. One that has learned nothing reads everything so.
    """
    usual = mean_nll(bench.evaluate(bench.model, replay.take(_spread(replay, USUAL_DOCUMENTS))))
    at_random = mean_nll(bench.evaluate(bench.model, _random_tokens(bench)))
    return max(LIKE_RANDOM * at_random, usual + ABOVE_USUAL)


def _random_tokens(bench: Workbench) -> Encoded:
    random = np.random.Generator(np.random.PCG64([bench.given.spec.seed, 4]))
    length = min(RANDOM_LENGTH, bench.shape.longest)
    # By number, not by count: a vocabulary may have holes, and two tokens of one number.
    numbers = np.unique(list(bench.encode.tokenizer.get_vocab().values())).astype(np.int32)
    # Gemma 3's has one for images, which the model that reads text alone has no row for.
    if (rows := rows_of(bench.model)) is not None:
        numbers = numbers[numbers < rows]
    tokens = numbers[random.integers(0, len(numbers), RANDOM_DOCUMENTS * length)]
    samples = tuple(RoundSample(at, "", "random") for at in range(RANDOM_DOCUMENTS))
    # Of a pair the second half is what is to be written.
    learned = None if bench.shape.start is None else np.arange(len(tokens)) % length >= length // 2
    bounds = np.arange(RANDOM_DOCUMENTS + 1) * length
    return Encoded(tokens, bounds, samples, np.zeros(RANDOM_DOCUMENTS, np.int64), learned=learned)


def _spread(replay: Encoded, most: int) -> list[int]:
    """At most so many remembered documents, evenly spread: they may lie in the order in which they came."""
    spread: list[int] = np.linspace(0, len(replay), min(len(replay), most), endpoint=False, dtype=int).tolist()
    return spread


def prequential_tokens(bench: Workbench, fresh: Encoded, replay: Encoded) -> int:
    """How many tokens `prequential` scores."""
    drawn = int(fresh.lengths[_drawn(bench, fresh)].sum())
    if bench.shape.classes is not None:
        return drawn
    return drawn + int(replay.lengths[_spread(replay, USUAL_DOCUMENTS)].sum()) + len(_random_tokens(bench).tokens)


def implausible(documents: Sequence[PrequentialDocument], bounds: PlausibilityBounds, kind: ModelKind) -> str:
    """Say which figures of the new text are beyond their bounds; empty where none is."""
    return "; ".join(
        f"{each.name} of {each.source or 'all new text'} is {each.figure:.3f}, the bound is {each.bound:.3f}"
        for each in compare(documents, bounds, kind)
        if not each.within
    )
