"""A stand-in for the process that has a prompt answered: it starts none, and answers at once or when it is told to."""

import threading
from collections.abc import Callable, Mapping

from daemon.comparisons.desk import ComparisonDesk
from daemon.processes.comparison_process import ComparisonEnding, ComparisonExit
from serving.comparison.exchange import AnswerEvent, ComparisonPrompt, LabelShare, PromptAnswer
from tests.harness import wait_until

WORDS: Mapping[int, str] = {0: "the water is low", 1: "the water rises", 2: "the river floods the mill"}
"""What each generation answers."""


class AnswersAtHand:
    """Answers by generation; see `daemon.comparisons.desk.Answering`.

    Attributes:
        may_answer: an answer waits for it.
        asked: what was asked last.
        words: what each generation answers, whatever it is asked.
        labels: what each says instead, as a classifier.
    """

    def __init__(self) -> None:
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.asked: ComparisonPrompt | None = None
        self.words = dict(WORDS)
        self.labels: dict[int, tuple[LabelShare, ...]] = {}

    def run(
        self, asked: ComparisonPrompt, *, on_event: Callable[[AnswerEvent], None], must_stop: Callable[[], bool]
    ) -> ComparisonExit:
        """As `ComparisonProcess.run`."""
        self.asked = asked
        on_event(AnswerEvent(event="answering", generation=asked.generations[0], tokens=7))
        wait_until(lambda: self.may_answer.is_set() or must_stop(), what="leave to answer")
        if must_stop():
            return ComparisonExit(ComparisonEnding.STOPPED, "It was called off.")
        for number in asked.generations:
            # Each told by more than its text: tokens and times that no other generation has.
            answer = PromptAnswer(
                text="" if number in self.labels else self.words.get(number, f"answer {number}"),
                labels=self.labels.get(number, ()),
                finish="length",
                tokens=7000 + number,
                prompt_tokens=8000 + number,
                seconds_loading=9000.0 + number,
                seconds_answering=9500.0 + number,
            )
            on_event(AnswerEvent(event="answered", generation=number, answer=answer))
        return ComparisonExit(ComparisonEnding.ANSWERED)


def desk(answers: AnswersAtHand | None = None, *, number: int = 4, swaps: bool = False) -> ComparisonDesk:
    """A desk whose comparisons are numbered from `number` on, and whose sides stand as the test says."""
    numbers = iter(range(number, number + 1_000))
    return ComparisonDesk(answers or AnswersAtHand(), new_number=lambda: next(numbers), swaps=lambda: swaps)
