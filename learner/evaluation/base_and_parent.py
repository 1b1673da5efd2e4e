"""The scores of base and parent on held-out text: taken before a round trains, where no earlier round has."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from learner.directory.round_directory import BASE
from learner.evaluation.missing_scores import SliceScored, complete_scores, missing_tokens
from learner.material.encoding import Encoded
from learner.workbench import Workbench


def tokens_to_score(bench: Workbench, slices: Mapping[str, Encoded]) -> int:
    """How many tokens `earlier_scores` scores, under parent and base."""
    given = bench.given
    tokens = missing_tokens(slices, given.known_parent)
    if given.spec.base.digest != given.spec.parent.digest:
        tokens += missing_tokens(slices, given.known_base)
    return tokens


def earlier_scores(bench: Workbench, slices: Mapping[str, Encoded]) -> tuple[SliceScored, SliceScored]:
    """Score base and parent on held-out text, where no earlier round has; return both by slice.

    Called before training: the bench's model still is the parent. The base is loaded only where something is missing.
    Of a label that the round learns they know no more than chance tells.
    """
    given = bench.given
    if given.spec.new_labels:
        bench = replace(bench, evaluate=bench.evaluate.at_chance())
    parent = complete_scores(bench, slices, given.known_parent, lambda: bench.model)
    if given.spec.base.digest == given.spec.parent.digest:
        return parent, parent
    # As the parent is: two precisions would differ by their rounding.
    with bench.lending_room() as load:
        return complete_scores(bench, slices, given.known_base, partial(load, BASE)), parent
