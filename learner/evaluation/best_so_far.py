"""The scores of an earlier generation that was best on older text, where no earlier round has taken them."""

from collections.abc import Mapping
from functools import partial

from learner.directory.round_directory import BEST
from learner.evaluation.missing_scores import SliceScored, complete_scores, missing_tokens
from learner.material.encoding import Encoded
from learner.workbench import Workbench


def tokens_to_score_again(bench: Workbench, slices: Mapping[str, Encoded]) -> int:
    """How many tokens `best_scores` scores."""
    return 0 if bench.given.spec.best is None else missing_tokens(slices, bench.given.known_best)


def best_scores(bench: Workbench, slices: Mapping[str, Encoded]) -> SliceScored:
    """Score the generation that the round was given for that; by slice, what was known of it among it.

    Nothing where the round was given none. It is held in memory beside the parent for as long, as the base is.
    """
    if bench.given.spec.best is None:
        return {}
    with bench.lending_room() as load:
        return complete_scores(bench, slices, bench.given.known_best, partial(load, BEST))
