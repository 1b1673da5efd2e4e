"""What every candidate of a round is asked alike: each bound with the differences that it is held to. Pure."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from gate.best_so_far import ENOUGH_OF
from gate.checks.check import ALONE, MAJORITY, OF_SKILL, PROPORTION
from gate.evidence import BEST_BY, Evidence, Scores, always_the_most_frequent
from gate.held_out import LABELS_TO_TELL, Group, Groups, HeldOut, InsufficientEvidence, Need, members_of
from gate.keys import KeyOf, keys_among
from gate.settings import GateSettings
from gate.statistics.comparisons import (
    Comparison,
    accuracy_difference,
    balanced_difference,
    f1_difference,
    mean_of,
    nll_difference,
    sum_of,
)
from gate.statistics.power import spread_within

PARENT: Final = "parent"
HARM_ALLOWANCE: Final = 0.01
"""Nats by which a candidate may be worse on older text whatever it gained: too little for anybody to notice."""

Difference = Callable[[Scores, Scores, KeyOf], Comparison]


@dataclass(frozen=True, slots=True)
class Question:
    """One bound, and how each candidate stands to it.

    Attributes:
        name: of the check.
        where: the slices that it is about.
        bound: the largest difference that is allowed.
        differences: by candidate, so that more is worse; also of the parent, where it is not the reference.
        by: what has to keep the bound: the upper confidence limit; the estimate less its standard error; or the lower
            limit, so that only what is proven to break it does.
        strict: the bound itself breaks it.
        alike: how many such questions share the chance to be failed by luck, where it is by the lower limit.
        gains: by candidate, what its figure and bound are both raised by before a person.
        parent_breaks: whether the parent itself does.
    """

    name: str
    where: Group
    bound: float
    differences: Mapping[str, Comparison]
    by: Literal["limit", "error", "proof"] = "limit"
    strict: bool = False
    alike: int = 1
    gains: Mapping[str, float] = field(default_factory=dict)
    parent_breaks: bool = False

    @property
    def is_of_losses(self) -> bool:
        """Whether the differences are of losses, which are convex along the line of the candidates."""
        return "_" not in self.name

    @property
    def is_of_skill(self) -> bool:
        """Whether the differences are of a skill's right answers, and evidence is counted in prompts."""
        return self.name.startswith(OF_SKILL)


class Questions:
    """All that the candidates of a round are asked."""

    def __init__(self, evidence: Evidence, kind: str, settings: GateSettings) -> None:
        self._evidence = evidence
        self._kind = kind
        self._settings = settings
        self._losses: dict[tuple[str, str], dict[str, Comparison]] = {}

    def ask(self, groups: Groups, undiluted: Sequence[Group]) -> list[Question]:
        """Every question; each has to be passed, so that no order among them matters and none can be bought by another.

        Args:
            groups: as joined to be judged.
            undiluted: what would be judged by itself were there no need of more keys to prove a bound.

        Raises:
            InsufficientEvidence: there is too little with tokens in one of the groups.
        """
        questions = [self._learned(groups.newest)]
        questions += [self._rise("parent", group, self._settings.max_rise_parent) for group in groups.sources]
        for group in groups.older:
            questions.append(self._rise("parent", group, self._settings.max_rise_parent))
            questions.append(self._rise("best", group, self._settings.max_rise_best))
            # Of later text the base knows nothing to be held to.
            if group.kind == "anchor":
                questions.append(self._rise("anchor", group, self._settings.max_rise_anchor))
        questions.append(self._average(groups.older))
        questions += self._in_proportion(groups)
        questions += self._alone(undiluted)
        return questions + (self._answers(groups) if self._kind == "classifier" else [])

    def _learned(self, newest: Group) -> Question:
        gain = self._settings.minimum_gain
        differences = self._nll("parent", newest)
        # Nobody gains on the way of no steps: where more than nothing is asked, the nearest to the parent fall short.
        return Question("learned", newest, -gain, differences, strict=True, parent_breaks=gain > 0)

    def _rise(self, reference: str, group: Group, bound: float) -> Question:
        return Question(reference, group, bound, self._nll("base" if reference == "anchor" else reference, group))

    def _average(self, older: Sequence[Group]) -> Question:
        mean = _mean_by_model([self._nll("best", group) for group in older])
        return Question("average", _together(older), self._settings.max_average_forgetting, mean)

    def _in_proportion(self, groups: Groups) -> list[Question]:
        """Harm against the parent, on each older group and on average, held to what was gained on the newest text."""
        ratio, gained = self._settings.max_harm_per_gain, self._nll("parent", groups.newest)
        harms = [(group, self._nll("parent", group)) for group in groups.older]
        if len(harms) > 1:
            harms.append((_together(groups.older), _mean_by_model([harm for _, harm in harms])))
        gains = {name: -ratio * change.estimate for name, change in gained.items()}
        return [
            Question(
                PROPORTION,
                where,
                HARM_ALLOWANCE,
                {name: sum_of([harm, gained[name]], [1, ratio]) for name, harm in by_model.items()},
                by="proof",
                alike=len(harms),
                gains=gains,
            )
            for where, by_model in harms
        ]

    def _alone(self, undiluted: Sequence[Group]) -> list[Question]:
        """What is judged with others, to prove a bound at all, may not be proven to break it by itself."""
        bound, number = self._settings.max_rise_parent, len(undiluted)
        return [
            Question(ALONE, group, bound, self._nll("parent", group), by="proof", alike=number) for group in undiluted
        ]

    def _answers(self, groups: Groups) -> list[Question]:
        """A classifier's accuracy and macro-F1 against the parent's, the best so far and, on the anchor, the base's.

        They move in steps of a whole document, so that on one slice their limits are too wide to prove anything: there
        the estimate less its standard error is bounded, as chance alone puts the estimate of forty documents beyond the
        bound in one case of five, and the limit is bounded over all slices together.
        """
        every, settings = (groups.newest, *groups.older), self._settings
        anchors = [group for group in groups.older if group.kind == "anchor"]
        measures = (
            ("accuracy", accuracy_difference, settings.max_accuracy_drop, settings.max_accuracy_drop_best),
            ("f1", f1_difference, settings.max_f1_drop, settings.max_f1_drop_best),
        )
        questions: list[Question] = []
        for name, difference, bound, bound_best in measures:
            questions += self._drops(f"{name}_parent", "parent", every, difference, bound)
            questions += self._drops(f"{name}_best", f"{BEST_BY}{name}", groups.older, difference, bound_best)
            questions += self._drops(f"{name}_anchor", "base", anchors, difference, bound_best)
        return questions + self._above_majority(groups)

    def _drops(
        self, name: str, reference: str, groups: Sequence[Group], difference: Difference, bound: float
    ) -> list[Question]:
        """What was lost against one reference: on each group but for its error, on all together by the limit."""
        drops = [_negated(self._differences(reference, group, difference)) for group in groups]
        alone = [Question(name, group, bound, drop, by="error") for group, drop in zip(groups, drops, strict=True)]
        return [*alone, Question(name, _together(groups), bound, _mean_by_model(drops))]

    def _above_majority(self, groups: Groups) -> list[Question]:
        """Whether it is better than always answering alike; not asked where the base was, or something trained serves.

        A new head answers at random, and one that has learned a little answers nearly one label: both are no worse than
        such a parent on every slice.

        Raises:
            InsufficientEvidence: the held-out text has one label, so that nobody can tell.
        """
        if not self._evidence.parent_is_base:
            return []
        everything = Group("held-out text", "newest", (*groups.newest.members, *members_of(groups.older)))
        parent = self._evidence.of(everything, PARENT)
        if (labels := len({score.label for score in parent})) < LABELS_TO_TELL:
            raise InsufficientEvidence(Need("labels", labels, LABELS_TO_TELL).sentence())
        majority, key_of = always_the_most_frequent(parent), everything.key_of
        margin = self._settings.minimum_over_majority
        if balanced_difference(parent, majority, key_of).estimate > margin:
            return []
        gains = {
            name: balanced_difference(self._evidence.of(everything, name), majority, key_of)
            for name in self._evidence.candidates
        }
        return [Question(MAJORITY, everything, -margin, _negated(gains), strict=True, parent_breaks=True)]

    def _nll(self, reference: str, group: Group) -> dict[str, Comparison]:
        asked = reference, group.name
        if asked not in self._losses:
            self._losses[asked] = self._differences(reference, group, nll_difference)
        return self._losses[asked]

    def _differences(self, reference: str, group: Group, difference: Difference) -> dict[str, Comparison]:
        """Of each candidate to a reference, and of the parent where it is not the reference itself."""
        models = [*self._evidence.candidates, *([] if reference == PARENT else [PARENT])]
        theirs = self._evidence.of(group, reference)
        return {
            model: difference(self._paired(model, reference, group, theirs), theirs, group.key_of) for model in models
        }

    def _paired(self, model: str, reference: str, group: Group, theirs: Scores) -> Scores:
        """A model's scores on what the reference has scored of a group.

        Raises:
            InsufficientEvidence: these are too few.
        """
        both = {score.id for score in theirs}
        ours = tuple(score for score in self._evidence.of(group, model) if score.id in both)
        # The best so far may lack a few documents that were drawn since: it is held to for all that.
        needed = math.ceil(self._settings.minimum_documents * (ENOUGH_OF if reference.startswith("best") else 1))
        if (keys := keys_among([score.id for score in ours], group.key_of)) < needed:
            counted = f"{keys} documents" if keys == len(ours) else f"{len(ours)} documents of {keys} keys"
            raise InsufficientEvidence(f"slice {group.name} has {counted} with tokens, at least {needed} are needed")
        return ours


def spread_of(evidence: Evidence, slices: Iterable[HeldOut], every: Iterable[HeldOut]) -> float:
    """How much the losses of the candidate that moved most differ from the parent's, from key to key within slices.

    One that was scored no further counts as if it had moved here as much more than the others as it did where it was
    scored: how slices are joined is not to hang on where scoring ended.

    Args:
        evidence: of the round.
        slices: the ones that are meant.
        every: all that were drawn.

    Returns:
        In nats; 0 where no slice has two keys.
    """
    wanted, drawn = list(slices), list(every)

    def of_candidate(name: str, on: Iterable[HeldOut]) -> float:
        groups = [Group(each.name, each.kind, (each,)) for each in on]
        pairs = [(evidence.of(group, name), evidence.of(group, PARENT), group.key_of) for group in groups]
        return spread_within(nll_difference(*pair) for pair in pairs)

    def times_as_much(name: str) -> float:
        scored = [each for each in drawn if each.name in evidence.scored(name)]
        others = max(of_candidate(other, scored) for other in evidence.candidates)
        return of_candidate(name, scored) / others if others else 1.0

    farther = max(map(times_as_much, evidence.stopped), default=1.0)
    return max(of_candidate(name, wanted) for name in evidence.candidates) * max(1.0, farther)


def _together(groups: Sequence[Group]) -> Group:
    return Group(" + ".join(group.name for group in groups), groups[0].kind, tuple(members_of(groups)))


def _mean_by_model(parts: Sequence[Mapping[str, Comparison]]) -> dict[str, Comparison]:
    return {name: mean_of([part[name] for part in parts]) for name in parts[0]}


def _negated(differences: Mapping[str, Comparison]) -> dict[str, Comparison]:
    return {name: difference.negated() for name, difference in differences.items()}
