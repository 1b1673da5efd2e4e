"""A round that trains nothing: it scores candidates that an earlier round trained on held-out text drawn anew."""

from dataclasses import replace

from learner.candidates import kept_candidates, score_candidates
from learner.devices.ranks import ALONE, Ranks
from learner.directory.kept_candidates import KEPT, names_of_candidates, take_over
from learner.directory.report import Report, read_report
from learner.directory.round_directory import RoundInput
from learner.evaluation.base_and_parent import earlier_scores, tokens_to_score
from learner.evaluation.best_so_far import best_scores, tokens_to_score_again
from learner.evaluation.missing_scores import join_scores
from learner.evaluation.skills import Skills
from learner.progress import Progress
from learner.workbench import DOCUMENTS, TOKENS, set_up


def judge_again(given: RoundInput, progress: Progress, ranks: Ranks = ALONE) -> Report:
    """Score a round's kept candidates beside base and parent, and report them as if it had trained them itself.

    What the training took, which samples it touched and how the new text fared before it are those of the report that
    came with the candidates.

    Raises:
        BadReport: that report cannot be understood.
        checkpoints.errors.CheckpointsError: a model cannot be loaded.
        OSError: the disk refused.
    """
    earlier = read_report(given.path / KEPT)
    with progress.phase("load"):
        bench = set_up(given, progress, ranks)
    with progress.phase("encode", DOCUMENTS, sum(len(piece.samples) for piece in given.slices)):
        slices = {piece.name: bench.encode(piece.samples) for piece in given.slices}
        skills = Skills.of(bench)
    to_score = tokens_to_score(bench, slices) + tokens_to_score_again(bench, slices)
    with progress.phase("score", TOKENS, to_score):
        base, parent = earlier_scores(bench, slices)
        best = best_scores(bench, slices)
    with skills.phase():
        earlier_answers = skills.ask_earlier()
    if ranks.is_first:
        take_over(given.path)
    ranks.wait()
    names = names_of_candidates(given.path)
    tokens = len(names) * (skills.tokens + sum(len(text.tokens) for text in slices.values()))
    with progress.phase("candidates", TOKENS, tokens):
        made = kept_candidates(bench, names)
        found = score_candidates(bench, made, slices, skills, count=len(names), parent=parent, base=base)
    return replace(
        earlier,
        round=given.spec.round,
        device=bench.device_name,
        slices=join_scores(base, parent, best, found.slices),
        scored=bench.scored,
        detail="",
        skills=skills.scores(earlier_answers, found.answers),
        stopped=found.stopped,
    )
