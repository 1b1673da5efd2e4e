"""What people said of answers."""

from daemon.control.answers.feedback import FeedbackAnswer, FeedbackOfGeneration, OpinionLine
from memory.intake.feedback import FeedbackCounts, StoredOpinion
from memory.store import Store


def feedback(store: Store, *, limit: int, before: int | None, text: bool) -> FeedbackAnswer:
    """What was said, counted and one by one."""
    return {
        "generations": [_of_generation(number, counts) for number, counts in store.feedback.counts().items()],
        "latest": [_line(opinion, text=text) for opinion in store.feedback.latest(limit, before)],
    }


def of_serving(store: Store, serving: int | None) -> FeedbackOfGeneration | None:
    """What was said of the serving generation's answers; None where nothing was."""
    counts = None if serving is None else store.feedback.counts().get(serving)
    return None if serving is None or counts is None else _of_generation(serving, counts)


def _of_generation(number: int, counts: FeedbackCounts) -> FeedbackOfGeneration:
    return {
        "generation": number,
        "accepted": counts.accepted,
        "rejected": counts.rejected,
        "corrected": counts.corrected,
    }


def _line(opinion: StoredOpinion, *, text: bool) -> OpinionLine:
    return {
        "id": opinion.id,
        "answer": opinion.answer,
        "key": opinion.giver,
        "verdict": opinion.verdict,
        "generation": opinion.generation,
        "answered_at": opinion.answered_at,
        "given_at": opinion.given_at,
        "corrected": opinion.corrected,
        "learned": opinion.learned,
        "prompt": opinion.prompt if text else None,
        "text": opinion.text if text else None,
        "correction": opinion.correction if text else None,
    }
