"""What the running daemon does of two generations that answer one prompt."""

from typing_extensions import override

from checkpoints.generation_store import GenerationStore
from daemon.comparisons.answer_comparison import AnswerComparison
from daemon.comparisons.asking import AskedComparison, prepared
from daemon.comparisons.choice import Choice
from daemon.comparisons.desk import ComparisonDesk
from daemon.control.answers.comparisons import ComparisonAnswer
from daemon.control.asker import whose_word
from daemon.control.facts import comparisons
from daemon.control.without_daemon import StoreControl
from daemon.settings.tree import Settings
from memory.store import Store


class ComparingControl(StoreControl):
    """`Control` with somebody who has prompts answered.

    Args:
        compared: has them answered, one comparison at a time.
    """

    def __init__(
        self, settings: Settings, store: Store, checkpoints: GenerationStore, compared: ComparisonDesk
    ) -> None:
        super().__init__(settings, store, checkpoints)
        self._compared = compared

    @override
    def compare(
        self,
        prompt: str,
        first: int | None = None,
        second: int | None = None,
        *,
        blind: bool = False,
        chat: bool = False,
        max_tokens: int = 128,
        temperature: float | None = None,
        seed: int | None = None,
    ) -> ComparisonAnswer:
        asked = AskedComparison(
            prompt=prompt,
            first=first,
            second=second,
            blind=blind,
            chat=chat,
            max_tokens=max_tokens,
            temperature=temperature,
            seed=seed,
        )
        return self._told(self._compared.begin(*prepared(asked, self._store, self._checkpoints, self._settings)))

    @override
    def comparison(self, number: int) -> ComparisonAnswer:
        return self._told(self._compared.find(number))

    @override
    def pick_answer(self, number: int, choice: Choice) -> ComparisonAnswer:
        who = whose_word()

        def keep(picked: AnswerComparison) -> None:
            self._store.picks.note((picked.left, picked.right), picked.won, who=who)

        return self._told(self._compared.pick(number, choice, who, keep))

    @override
    def cancel_comparison(self, number: int) -> ComparisonAnswer:
        return self._told(self._compared.call_off(number))

    def _told(self, found: AnswerComparison) -> ComparisonAnswer:
        pair = found.left, found.right
        tally = None if found.is_hidden else comparisons.tally_of(pair, self._store.picks.counts(pair))
        return comparisons.comparison(found, tally, self._clock())
