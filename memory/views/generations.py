"""The ledger of generations: numbers never used again, scores, and what serves."""

from collections.abc import Iterable, Mapping, Sequence

from memory.database import facts
from memory.ledger import generations, restored, rollback
from memory.ledger.records import DocumentScore, Generation, Rollback, ScoreRow, SliceScore
from memory.ledger.restored import FoundGeneration
from memory.ledger.scorings import Scoring
from memory.ledger.skills import skill_scores
from memory.ledger.skills.skill_scores import SkillRow, SkillScore
from memory.views.session import Session


class Generations:
    """Generations as the ledger has them. Every method may be called from any thread."""

    def __init__(self, file: Session) -> None:
        self._file = file

    def reserve(self, round_number: int) -> int:
        """A number for a candidate of this round, never used before and never to be used again."""
        return self._file.write(generations.reserve, round_number, self._file.clock())

    def register_base(self, *, digest: str, source_path: str, generation: int = 0) -> None:
        """Enter the base model as generation 0, serving. Repeating it with the same digest changes nothing.

        Raises:
            WrongState: another base is registered.
        """
        self._file.write(
            generations.register_base,
            digest=digest,
            source_path=source_path,
            generation=generation,
            now=self._file.clock(),
        )

    def serving(self) -> int | None:
        """The serving generation's number; None before a base is registered."""
        return self._file.read(facts.find_int, "serving")

    def serving_line(self) -> frozenset[int]:
        """The generations that led to the serving one, itself among them; empty where none serves."""
        return frozenset(self._file.read(generations.serving_line))

    def listed(self) -> list[Generation]:
        """The ledger of generations, oldest first, with R's rows: those of the latest rounds, and what still counts."""
        return self._file.read(generations.list_generations)

    def read(self, number: int) -> Generation:
        """One generation, also one that has left the ledger.

        Raises:
            UnknownGeneration: there is none of that number, or it is too long ago.
        """
        return self._file.read(generations.read, number)

    def rollback(self, to: int | None = None, *, by: str = "") -> tuple[int, int]:
        """Move the serving pointer back to `to`, or to the serving generation's parent.

        The one rolled back from is flagged, and is not promoted again by itself. While a generation is watched in
        traffic it is the one that is gone back from where no other is named; to name it lets it serve. Whatever is
        named, the watch ends.

        Args:
            to: the generation that is to serve.
            by: whose word it is, kept for `last_rollback`.

        Returns:
            The generations (from, to).

        Raises:
            UnknownGeneration, WrongState: `to` is not there, was never accepted, is retired or serves already.
        """
        return self._file.write(rollback.rollback, to, by=by, now=self._file.clock())

    def rolled_back(self) -> frozenset[int]:
        """Those that a person, or their watch in traffic, went back from: nobody falls back to them."""
        return self._file.read(generations.rolled_back)

    def last_rollback(self) -> Rollback | None:
        """The latest rollback; None where there was none."""
        return self._file.read(rollback.last_rollback)

    def retire(self, numbers: Sequence[int]) -> None:
        """Note that these generations' files were removed: their ledger line stays, their per-document scores go.

        Those of the best so far on some slice stay: what comes later is compared with it, however long ago it served.

        Raises:
            WrongState: one of them serves.
        """
        self._file.write(generations.retire, numbers)

    def count(self) -> tuple[tuple[str, int], ...]:
        """How many are in each state, and how many scores there are: by which a change is seen that no round made."""
        return self._file.read(generations.count)

    def score_matrix(self) -> list[ScoreRow]:
        """R, as recorded: of the base and the latest generations, and of those that were best, oldest first."""
        return self._file.read(generations.score_matrix)

    def save_scores(self, generation: int, scores: Mapping[str, SliceScore], *, scored: Scoring | None = None) -> None:
        """Add to R's row of a generation (the base's score on a new slice, say); known ones are replaced.

        Args:
            generation: whose.
            scores: by slice name.
            scored: how they were taken; None where that is not known.
        """
        self._file.write(generations.save_scores, generation, scores, scored)

    def skill_scores(self) -> list[SkillRow]:
        """What generations were found to answer rightly of each skill, by generation and skill."""
        return self._file.read(skill_scores.listed)

    def save_skill_scores(self, generation: int, scores: Mapping[str, SkillScore], *, scored: Scoring) -> None:
        """Keep what a generation answers rightly, by the skill's name; what was known of these skills is replaced.

        Args:
            generation: whose.
            scores: by the skill's name.
            scored: how they were taken.
        """
        self._file.write(skill_scores.save, generation, scores, scored)

    def held_out_documents(self) -> dict[str, dict[int, int]]:
        """The documents of the anchor and of each closed slice by its name, each with the number of its key.

        That number is the least document with the same key: what has none, or a category's, counts by itself.
        """
        return self._file.read(generations.held_out_documents, self._file.settings)

    def document_scores(self, generation: int) -> dict[int, DocumentScore]:
        """What is known of a generation's scores on held-out documents that are still kept, by sample id."""
        return self._file.read(generations.document_scores, generation)

    def scores_by_way(self, generation: int) -> dict[Scoring | None, dict[int, DocumentScore]]:
        """The same by how they were taken; under None those of which that is not known."""
        return self._file.read(generations.scores_by_way, generation)

    def save_document_scores(
        self, generation: int, rows: Iterable[DocumentScore], *, scored: Scoring | None = None
    ) -> None:
        """Keep a generation's scores on held-out documents; those of documents no longer kept are ignored.

        Args:
            generation: whose.
            rows: its scores.
            scored: how they were taken; None where that is not known.
        """
        self._file.write(generations.save_document_scores, generation, rows, scored)

    def accepted_among(self, numbers: Iterable[int]) -> frozenset[int]:
        """Those generations among these that the ledger knows as accepted, at whatever time."""
        return self._file.read(restored.find_accepted, list(numbers))

    def number_above(self, *, generation: int, round_number: int) -> bool:
        """See that the next numbers are above these; returns whether they would not have been."""
        return self._file.write(restored.number_above, generation, round_number)

    def take_up(self, line: Sequence[FoundGeneration]) -> None:
        """Enter generations that served, parents first; the last of them serves.

        Which samples their rounds were given is not known, and so of no earlier round whether that is all.
        """
        self._file.write(restored.take_up, line, self._file.clock())
