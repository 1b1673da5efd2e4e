"""The ledger of rounds: begun, stepped on, ended; and whether any may begin."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from memory.database import facts
from memory.ledger import (
    draw,
    foreseen_slices,
    judging_again,
    left_out,
    pause,
    prequential,
    retention,
    round_endings,
    rounds,
    standing,
    too_large,
)
from memory.ledger.history import attempts
from memory.ledger.history.attempts import Attempt
from memory.ledger.history.canaries import CanaryPlan
from memory.ledger.judging_again import JudgeableOn
from memory.ledger.pause import RoundsPause
from memory.ledger.records import (
    ApprovedRound,
    DocumentScore,
    DrawSpec,
    Prequential,
    Round,
    RoundDraw,
    SliceOutline,
    SliceScore,
    Standing,
    TooLarge,
    Trained,
    TrainedSample,
)
from memory.ledger.rounds import Judgeable
from memory.ledger.scorings import Scoring
from memory.ledger.states import RoundState
from memory.samples.reading import FoundSample
from memory.samples.records import Sample
from memory.views.session import Session

ROUNDS_LOOKED_AT: Final = 32


class Rounds:
    """Rounds as the ledger has them. Every method may be called from any thread."""

    def __init__(self, file: Session) -> None:
        self._file = file

    def begin(
        self,
        *,
        trigger: str,
        reason: str = "",
        recipe: Mapping[str, Any],
        seed: int,
        spec: DrawSpec = DrawSpec(),  # noqa: B008 - frozen
        now: float | None = None,
        released_from: int | None = None,
        judgeable: Judgeable | None = None,
    ) -> RoundDraw | None:
        """Number a round and draw what it trains and is judged on; None when there is nothing fresh to train on.

        The round is then `drawn`. Fresh text is drawn oldest first; replay uniformly from memory as it stands, by
        `seed`; text that is a near-duplicate of held-out text which arrived later is removed instead of drawn. What
        the ledger need not keep any longer goes.

        Args:
            trigger: what began it.
            reason: why, a sentence.
            recipe: how it will be trained; JSON values only, kept for the record.
            seed: of this round's randomness; the same store and seed give the same draw.
            spec: limits of the draw.
            now: unix seconds; the clock's where None.
            released_from: draw the text of this released round and no other fresh text.
            judgeable: asked, once near-duplicates are gone, whether a round on this fresh text could be judged on what
                is held out; where it could not, none is begun and None returned. Left out: it is begun in any case.

        Raises:
            WrongState: a round is unfinished, there is no base generation, or `released_from` was not released.
            UnknownRound: no round `released_from`.
        """
        with self._file.database.write() as tx:
            drawn = rounds.begin(
                tx,
                trigger=trigger,
                reason=reason,
                recipe=recipe,
                seed=seed,
                spec=spec,
                now=self._file.clock() if now is None else now,
                released_from=released_from,
                judgeable=judgeable,
                settings=self._file.settings,
                salt=self._file.intake.salt,
                kept_out=self._file.intake.kept_out,
            )
            # Here, as what is kept is counted in rounds: with each new one another has become too old.
            retention.prune(tx, self._file.settings)
        return drawn

    def begin_again(
        self, kept: int, *, trigger: str, now: float, judgeable: JudgeableOn, reason: str = ""
    ) -> RoundDraw:
        """Number a round that judges once more what round `kept` trained, or judged again itself.

        It has the parent, the recipe, the seed and the text of that round, and is judged on slices drawn anew, but for
        what comes near its text. The round is then `drawn`.

        Args:
            kept: a round that was refused for want of evidence.
            trigger: what began it.
            now: unix seconds.
            judgeable: asked whether a round on its text could be judged on these slices.
            reason: why it began, a sentence.

        Raises:
            NotJudgedAgain: it cannot be judged again, and why; nothing has changed.
            WrongState: a round is unfinished, or there is no base generation.
            UnknownRound: no round `kept`.
        """
        with self._file.database.write() as tx:
            drawn = judging_again.begin(
                tx,
                kept,
                trigger=trigger,
                reason=reason,
                now=now,
                judgeable=judgeable,
                settings=self._file.settings,
            )
            retention.prune(tx, self._file.settings)
        return drawn

    def foreseen_draw(self, spec: DrawSpec) -> tuple[RoundDraw, tuple[Sample, ...]]:
        """What a round would be given if it were drawn now, by the rules of the draw; changes nothing.

        Samples come without their text, and no slices: see `foreseen_slices`. What comes near held-out text goes only
        when a round is drawn, and counts here until then; replay is one draw of many that are as likely.

        Returns:
            what it would train on, and what of it would lie over its key's quota.

        Raises:
            WrongState: there is no base generation.
        """
        with self._file.database.read() as tx:
            parent, base = rounds.generations_to_start_from(tx)
            seen = draw.foresee(tx, spec, self._file.settings, self._file.intake.salt)
        fresh, replay, early_stop, over_quota = (
            tuple(placed.sample for placed in part)
            for part in (seen.fresh.train, seen.replay, seen.fresh.early_stop, seen.fresh.over_quota)
        )
        left = left_out.left_of_fresh(self._file.settings, spec, left=seen.left, over_quota=len(over_quota))
        return (
            RoundDraw(seen.number, seen.seed, parent, base, fresh, replay, early_stop, (), {}, left_out=left),
            over_quota,
        )

    def foreseen_slices(self) -> tuple[SliceOutline, ...]:
        """What a round would be judged on if it began now, by the rules of the draw; changes nothing.

        Held-out text that comes near what was trained on goes only when a round is drawn, and counts here until then.
        """
        return self._file.read(foreseen_slices.foreseen, self._file.settings)

    def advance(self, number: int, state: RoundState, *, detail: str = "") -> None:
        """Step a round on to `training` or `judged`, or end it as `failed` or `abandoned`.

        The steps: drawn → training → judged → accepted | refused; waiting from training or judged; failed and
        abandoned from any of the first three. `accept_round`, `refuse_round` and `hold_round` end a round otherwise.

        Raises:
            UnknownRound, WrongState: no such round, or no such step from where it is.
        """
        self._file.write(rounds.advance, number, state, now=self._file.clock(), detail=detail)

    def fail(self, number: int, *, reason: str, verdict: Mapping[str, Any] | None = None) -> None:
        """End a round as `failed`: its fresh samples wait for the next one.

        Args:
            verdict: the gate's word, where there was one; JSON values only.
        """
        now = self._file.clock()
        self._file.write(
            rounds.end, number, RoundState.FAILED, verdict=verdict or {}, report={}, detail=reason, now=now
        )

    def accept(
        self,
        number: int,
        *,
        generation: int,
        digest: str,
        scores: Mapping[str, SliceScore],
        document_scores: Iterable[DocumentScore] = (),
        scored: Scoring | None = None,
        verdict: Mapping[str, Any],
        report: Mapping[str, Any],
        trained: Trained | None = None,
        canary: CanaryPlan | None = None,
    ) -> None:
        """Accept a round's candidate, in one transaction: the truth about what serves.

        Round and generation are accepted, the serving pointer moves (or stays, and a watch begins), fresh samples
        that were trained on settle into replay, slices close. What was not trained on stays fresh, and what is held
        out of later text stays newest.

        Args:
            number: a round that is `judged`.
            generation: reserved by this round.
            digest: of its files.
            scores: R's row, by slice name.
            document_scores: of the generation on the held-out documents.
            scored: how both were taken; None where that is not known.
            verdict: the gate's word; JSON values only.
            report: summary of the learner's report; JSON values only. `report["prequential"]`, where given, is
                `{"mean_nll": nats, "tokens": n, "by_source": {source: {"mean_nll": nats, "tokens": n}}}`.
            trained: which samples it was trained on; None: on all that it was given to train on, and what it kept apart
                for early stopping settles with it.
            canary: how the generation is watched in traffic before it serves; None: it serves at once.

        Raises:
            UnknownRound, UnknownGeneration, WrongState.
        """
        self._file.write(
            round_endings.accept,
            number,
            generation=generation,
            digest=digest,
            scores=scores,
            document_scores=document_scores,
            scored=scored,
            verdict=verdict,
            report=report,
            trained=trained,
            canary=canary,
            now=self._file.clock(),
            settings=self._file.settings,
            salt=self._file.intake.salt,
        )

    def refuse(
        self,
        number: int,
        *,
        verdict: Mapping[str, Any],
        report: Mapping[str, Any],
        detail: str = "",
        against_text: bool = True,
    ) -> int:
        """Refuse a `judged` round: its fresh samples wait for the next one; nothing else changes.

        Text refused often enough (twice by default) is set aside, the held-out part of its period with it.

        Args:
            against_text: the refusal counts against the text; not so where the evidence was too thin to tell.

        Returns:
            How many samples were set aside.
        """
        return self._file.write(
            round_endings.refuse,
            number,
            verdict=verdict,
            report=report,
            detail=detail,
            against_text=against_text,
            now=self._file.clock(),
            settings=self._file.settings,
        )

    def hold(self, number: int, *, verdict: Mapping[str, Any], report: Mapping[str, Any], detail: str = "") -> int:
        """Let a `training` or `judged` round wait for a person: its fresh text and the newest slices go aside.

        Returns:
            How many samples were set aside.
        """
        return self._file.write(
            round_endings.hold, number, verdict=verdict, report=report, detail=detail, now=self._file.clock()
        )

    def abandon(self, number: int, *, verdict: Mapping[str, Any], report: Mapping[str, Any], detail: str = "") -> None:
        """End a dry run as `abandoned`, with what was said of it: its fresh samples wait, nothing else changes."""
        now = self._file.clock()
        self._file.write(
            rounds.end, number, RoundState.ABANDONED, verdict=verdict, report=report, detail=detail, now=now
        )

    def release(self, number: int) -> int:
        """A person's word for a `waiting` round: its text is fresh (or held out) again. Returns how many samples."""
        now, settings, salt = self._file.clock(), self._file.settings, self._file.intake.salt
        return self._file.write(round_endings.release, number, now=now, settings=settings, salt=salt)

    def drop(self, number: int) -> int:
        """A person's word against a `waiting` round: its text is erased. Returns how many samples."""
        return self._file.write(round_endings.drop, number, now=self._file.clock())

    def unfinished(self) -> list[Round]:
        """Rounds that are drawn, training or judged: what recovery has to finish or discard."""
        return self._file.read(rounds.find_unfinished)

    def waiting(self) -> list[int]:
        """Numbers of the rounds that wait for a person's word, oldest first, however long ago they were begun."""
        return self._file.read(rounds.waiting)

    def approved(self) -> list[ApprovedRound]:
        """Released rounds whose text no round has been judged on yet, oldest first."""
        return self._file.read(rounds.find_approved)

    def listed(self, limit: int = 100, offset: int = 0) -> list[Round]:
        """The ledger of rounds, newest first."""
        return self._file.read(rounds.list_rounds, limit, offset)

    def attempts(self, limit: int) -> list[Attempt]:
        """The latest rounds in few words, newest first."""
        return self._file.read(attempts.attempts, limit)

    def latest(self) -> Iterator[Round]:
        """The latest rounds, newest first; one at a time, as reports are long and the first mostly says it all."""
        for back in range(ROUNDS_LOOKED_AT):
            yield from self.listed(limit=1, offset=back)

    def read(self, number: int) -> Round:
        """One round.

        Raises:
            UnknownRound: there is none of that number, or it has left the ledger.
        """
        return self._file.read(rounds.read, number)

    def samples(self, number: int, limit: int = -1, after: int = 0) -> list[TrainedSample]:
        """Which samples a round was given, also when their text is gone; none past the retention of lineage.

        Args:
            number: of the round.
            limit: most samples to return; negative: all.
            after: return those with greater ids.
        """
        return self._file.read(rounds.round_samples, number, limit, after)

    def sources(self, number: int) -> list[tuple[str, str | None, int]]:
        """How many samples of which part and source a round was given; None where the text, and its source, is gone."""
        return self._file.read(rounds.count_sources, number)

    def text(self, number: int) -> dict[str, tuple[FoundSample, ...]]:
        """What is still kept of the text that a round was given to train on, by its part (`TrainedSample.part`)."""
        return self._file.read(rounds.round_text, number)

    def lineage_from(self) -> int:
        """The first round of which it is known which samples it was given."""
        return self._file.read(facts.get_int, "lineage_from")

    def prequential_history(self, limit: int = 20) -> list[Prequential]:
        """What fresh text cost the serving generation before it was trained on, newest round first."""
        return self._file.read(prequential.history, limit)

    def by_state(self) -> dict[str, int]:
        """How many rounds of the ledger are in each state; 0 where none is."""
        return self._file.read(rounds.count_by_state)

    def paused(self) -> RoundsPause | None:
        """That a person lets no round begin by itself; None while rounds may."""
        return self._file.read(pause.find)

    def pause(self, reason: str = "") -> RoundsPause:
        """A person's word that no round begins by itself until `resume_rounds`; what to make of it is the daemon's."""
        return self._file.write(pause.begin, reason, self._file.clock())

    def resume(self) -> bool:
        """End the pause; says whether there was one."""
        return self._file.write(pause.end)

    def standing(self) -> Standing:
        """Where the ledger stands: for who shows it often, as long as it is the same nothing else changed in it."""
        return self._file.read(standing.standing)

    def too_large(self) -> list[TooLarge]:
        """Micro-batches with which rounds ran out of memory, the latest first."""
        return self._file.read(too_large.listed)

    def note_too_large(self, conditions: str, micro_batch: int, *, certain: bool, number: int) -> None:
        """Remember that a round ran out of memory with micro-batches of so many sequences; see `TooLarge`."""
        self._file.write(
            too_large.note, conditions, micro_batch, certain=certain, round_number=number, now=self._file.clock()
        )

    def note_fits(self, conditions: str, micro_batch: int) -> None:
        """Forget what speaks against micro-batches of so many sequences: a round has finished with them."""
        self._file.write(too_large.note_fits, conditions, micro_batch)
