"""How unlike earlier text the new text may be: bounds drawn from what earlier rounds and the anchor showed.

Natural drift must pass: a clean new era lies a few tenths of a nat above the anchor, text with shuffled words
well over a nat above that. So a bound on a loss is a level that is known to be harmless plus a generous rise, and rises
further where earlier rounds differed much among themselves. New domains lie higher still; to which text these bounds
apply is decided in `learner.evaluation.text_plausibility`. A bound on a share of documents is what earlier text had,
and so much more.
"""

import math
import statistics
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Final

from gate.settings import GateSettings
from learner.directory.plausibility_bounds import PlausibilityBounds, TextBounds
from learner.evaluation.text_plausibility import SURE, PrequentialSummary, TextFigures, text_figures
from memory.ledger.records import Round
from memory.ledger.states import RoundState

ENOUGH_ROUNDS: Final = 3
"""With fewer rounds to compare with, the anchor stands beside them."""

ENOUGH_DOCUMENTS: Final = 20
"""So many of a source are judged by themselves for plausibility, fewer where fewer may judge a candidate: bounds on
text lie whole nats away, those on candidates hundredths."""

SPREADS: Final = 6
"""A bound lies at least this many robust standard deviations above the median of earlier rounds."""

CONTRARY: Final = 0.375
"""How much of what a classifier's answers say about labels may be against them: for the figures behind it see
docs/learning-log.md, "Labels turned round"."""

MAD_TO_SIGMA: Final = 1.4826
"""The median absolute deviation times this estimates a normal distribution's standard deviation."""


def plausibility_bounds(
    history: Sequence[PrequentialSummary], anchor: Iterable[tuple[float, int]], settings: GateSettings
) -> PlausibilityBounds:
    """Bounds on the next round's fresh text.

    Args:
        history: fresh text of earlier rounds that led to what serves, or that a person approved, oldest first; what
            waited or was dropped must not be among it, else poison would teach the gate to let poison in.
        anchor: the serving generation's scores of the anchor's documents as (nats, tokens); may be empty
            while they are not known yet.
        settings: the gate's.

    Returns:
        Bounds over all text and for each source that earlier rounds had. Nothing known gives no bounds.
    """
    recent = history[-settings.plausible_rounds :]
    overall = [summary.overall for summary in recent]
    level = _of_anchor([score for score in anchor if math.isfinite(score[0])])
    known = sorted({source for summary in recent for source in summary.sources})
    sources = {
        source: _bounds(
            [summary.sources[source] for summary in recent if source in summary.sources],
            [*overall, level],
            settings,
            is_trained=bool(recent),
        )
        for source in known
    }
    of_all = _bounds(overall, [level], settings, is_trained=bool(recent))
    return PlausibilityBounds(of_all, sources, min(settings.minimum_documents, ENOUGH_DOCUMENTS))


def _of_anchor(scores: Sequence[tuple[float, int]]) -> TextFigures:
    # A label that gets so little is one where another is sure, or several share the rest: no fewer than the former.
    unlikely = [nll >= -math.log(1 - SURE) * tokens for nll, tokens in scores if tokens]
    share = sum(unlikely) / len(unlikely) if unlikely else math.nan
    return replace(text_figures(scores), contradicted_share=share)


def plausible_history(rounds: Iterable[Round], line: Collection[int]) -> list[PrequentialSummary]:
    """What earlier rounds' fresh text looked like, oldest first, of the rounds whose text may set bounds.

    Those are the rounds that led to what serves and those whose text a person approved. Their
    `report["prequential"]` is what `PrequentialSummary.to_json` gave.

    Args:
        rounds: of the ledger, in any order.
        line: the generations that led to the serving one.
    """
    trusted = sorted((each for each in rounds if _harmless(each, line)), key=lambda each: each.number)
    figures = [each.report["prequential"] for each in trusted if each.report.get("prequential")]
    return [PrequentialSummary.from_json(each) for each in figures]


def _harmless(round_: Round, line: Collection[int]) -> bool:
    # What a person rolled back from may have been poison that passed.
    if round_.state is RoundState.ACCEPTED:
        return round_.generation in line
    return round_.released_from is not None and round_.state is RoundState.REFUSED


def _bounds(
    own: Sequence[TextFigures], others: Sequence[TextFigures], settings: GateSettings, *, is_trained: bool
) -> TextBounds:
    """Bounds from a text's own earlier rounds, with others to fall back on while they are few."""
    own = [figures for figures in own if figures.documents]
    others = [figures for figures in others if figures.documents]
    repetitive = [figures.repetitive_share for figures in own]
    incoherent = [figures.incoherent_share for figures in own]
    contradicted = [f.contradicted_share for f in own], [f.contradicted_share for f in others]
    return TextBounds(
        mean_nll=_bound([f.mean_nll for f in own], [f.mean_nll for f in others], settings.plausible_rise),
        upper_nll=_bound([f.upper_nll for f in own], [f.upper_nll for f in others], settings.plausible_rise),
        repetitive_share=_share_bound(repetitive, (), settings.plausible_repetition),
        incoherent_share=_share_bound(incoherent, (), settings.plausible_incoherence),
        contradicted_share=_share_bound(*contradicted, settings.plausible_contradiction),
        # A head that was drawn at random, before a first round, answers anything.
        contrary_share=CONTRARY if is_trained else None,
    )


def _share_bound(own: Sequence[float], others: Sequence[float], rise: float) -> float:
    """The median of a text's own earlier shares, else the highest of others, else 0; and `rise` more."""
    own, others = ([share for share in shares if not math.isnan(share)] for shares in (own, others))
    level = statistics.median(own) if own else max(others, default=0.0)
    return min(1.0, level + rise)


def _bound(own: Sequence[float], others: Sequence[float], rise: float) -> float | None:
    """The level known to be harmless, plus `rise` or six spreads, whichever is more; None without a level."""
    # A round all of whose labels were new has no loss to tell.
    own, others = ([value for value in values if not math.isnan(value)] for values in (own, others))
    if len(own) < ENOUGH_ROUNDS:
        # The highest, not a mean: each of them passed, and too low a bound makes harmless text wait for a person.
        levels = [*own, *others]
        return max(levels) + rise if levels else None
    middle = statistics.median(own)
    spread = MAD_TO_SIGMA * statistics.median(abs(value - middle) for value in own)
    return middle + max(rise, SPREADS * spread)
