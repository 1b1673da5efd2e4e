"""The durable store: one SQLite file that holds text, offsets, the ledger of rounds and generations.

Every write is one transaction. Threads and processes may use the same file at the same time: writers take turns,
readers see the last committed state and delay nobody.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from memory import (
    counters,
    draw,
    facts,
    foreseen,
    generations,
    ledger,
    offsets,
    outcome,
    pause,
    retention,
    samples,
    standing,
)
from memory.finding import FoundSample
from memory.ledger import Judgeable
from memory.pause import RoundsPause
from memory.records import (
    Appended,
    ApprovedRound,
    Counts,
    DocumentScore,
    DrawSpec,
    Generation,
    Prequential,
    Rollback,
    Round,
    RoundDraw,
    Sample,
    ScoreRow,
    SliceOutline,
    SliceScore,
    Standing,
    Trained,
    TrainedSample,
)
from memory.restored import Restored
from memory.rounds import RoundState
from streams.document import Batch, Partition


class Store(Restored):
    """The memory. Every method may be called from any thread.

    Any method raises `StoreBusy` (another process wrote for longer than the busy timeout), `StoreFull` (no room on
    disk; nothing of the write took effect) or `StoreDamaged`.
    """

    # --- text in ---

    def next_offset(self, topic: str, number: int, incarnation: str = "") -> int | None:
        """The offset to read next in a partition; None for one that the store has never seen."""
        return self._read(offsets.next_offset, Partition(topic, number, incarnation))

    def offsets_of(self, topic: str, number: int) -> dict[str, int]:
        """The offset to read next of each incarnation of a topic's partition that the store has seen."""
        return self._read(offsets.offsets_of, topic, number)

    def knows(self, topic: str) -> bool:
        """Whether any partition of a topic was ever seen."""
        return self._read(offsets.knows, topic)

    def latest_incarnation(self, topic: str, number: int) -> str | None:
        """The incarnation under which a topic's partition was read last; None for one that was never seen."""
        return self._read(offsets.latest_incarnation, topic, number)

    def append(
        self,
        batch: Batch,
        *,
        before_stream: bool = False,
        keep_unpublished: bool = False,
        opened: int | None = None,
    ) -> Appended:
        """Take a batch in: samples, dead letters, gaps and offsets in one transaction.

        When this returns, the batch is durable and may be acknowledged. When it raises, nothing took effect.

        Args:
            batch: what a poll brought. What lies below a partition's stored offset was delivered again and is skipped.
            before_stream: the text is of the kind that the model was built on: it goes straight to replay, its
                held-out part to the anchor slice (until that is frozen).
            keep_unpublished: dead letters wait for a topic: none makes room for another before it is there.
            opened: what `opened` was when the batch's partitions were asked for; None: whatever it was.

        Raises:
            StoreReopened: the file was opened anew since; the batch does not follow on what it holds.
            BadBatch: a document lies at or beyond its partition's `next_offsets`.
        """
        return self._intake.append(batch, before_stream=before_stream, keep_unpublished=keep_unpublished, opened=opened)

    def is_full(self) -> bool:
        """Whether the fresh buffer has reached a budget, so that consumption should pause."""
        return self._read(counters.is_full, self._settings)

    def counts(self) -> Counts:
        """How full the memory is; read from counters, so the cost does not grow with the store."""
        return self._read(counters.counts, self._settings)

    def fill(self, counts: Counts) -> float:
        """How full the fresh buffer is by its fuller budget: 1 where consumption should pause."""
        settings = self._settings
        return max(counts.fresh_samples / settings.fresh_samples, counts.fresh_tokens / settings.fresh_tokens)

    def file_bytes(self) -> dict[str, int]:
        """Sizes of the database and of its write-ahead log."""
        return self._database.file_bytes()

    def rounds_by_state(self) -> dict[str, int]:
        """How many rounds of the ledger are in each state; 0 where none is."""
        return self._read(ledger.count_by_state)

    def standing(self) -> Standing:
        """Where the ledger stands: for who shows it often, as long as it is the same nothing else changed in it."""
        return self._read(standing.standing)

    def set_bytes_per_token(self, value: float) -> None:
        """Tell how many bytes of UTF-8 the model's tokenizer takes for a token (a report measures it).

        Raises:
            ValueError: not between 0.1 and 100.
        """
        if not 0.1 <= value <= 100:
            raise ValueError(f"{value} bytes per token is not between 0.1 and 100")
        self._write(facts.put, "bytes_per_token", float(value))

    def sample_replay(self, count: int, *, seed: int) -> list[Sample]:
        """Samples drawn uniformly from replay without replacement: `count`, or all where there are fewer."""
        generator = np.random.Generator(np.random.PCG64(seed))
        with self._database.read() as tx:
            ids = draw.replay_ids(tx, generator, most_bytes=math.inf, most=count)
            return [one.sample for one in samples.read(tx, ids)]

    # --- rounds ---

    def begin_round(
        self,
        *,
        trigger: str,
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
            trigger: why, in a few words.
            recipe: how it will be trained; JSON values only, kept for the record.
            seed: of this round's randomness; the same store and seed give the same draw.
            spec: limits of the draw.
            now: unix seconds; the clock's where None.
            released_from: draw the text of this released round and no other fresh text.
            judgeable: asked, once near-duplicates are gone, whether a round could be judged on what is held out; where
                it could not, none is begun and None returned. Left out: it is begun in any case.

        Raises:
            WrongState: a round is unfinished, there is no base generation, or `released_from` was not released.
            UnknownRound: no round `released_from`.
        """
        with self._database.write() as tx:
            drawn = ledger.begin(
                tx,
                trigger=trigger,
                recipe=recipe,
                seed=seed,
                spec=spec,
                now=self._clock() if now is None else now,
                released_from=released_from,
                judgeable=judgeable,
                settings=self._settings,
                salt=self._intake.salt,
            )
            retention.prune(tx, self._settings)
        return drawn

    def foreseen_slices(self, spec: DrawSpec = DrawSpec()) -> tuple[SliceOutline, ...]:  # noqa: B008 - frozen
        """What a round would be judged on if it began now, by the rules of the draw; changes nothing.

        Held-out text that comes near what was trained on goes only when a round is drawn, and counts here until then.
        """
        return self._read(foreseen.foreseen, self._settings, spec)

    def advance_round(self, number: int, state: RoundState, *, detail: str = "") -> None:
        """Step a round on to `training` or `judged`, or end it as `failed` or `abandoned`.

        The steps: drawn → training → judged → accepted | refused; waiting from training or judged; failed and
        abandoned from any of the first three. `accept_round`, `refuse_round` and `hold_round` end a round otherwise.

        Raises:
            UnknownRound, WrongState: no such round, or no such step from where it is.
        """
        self._write(ledger.advance, number, state, now=self._clock(), detail=detail)

    def fail_round(self, number: int, *, reason: str, verdict: Mapping[str, Any] | None = None) -> None:
        """End a round as `failed`: its fresh samples wait for the next one.

        Args:
            verdict: the gate's word, where there was one; JSON values only.
        """
        now = self._clock()
        self._write(ledger.end, number, RoundState.FAILED, verdict=verdict or {}, report={}, detail=reason, now=now)

    def reserve_generation(self, round_number: int) -> int:
        """A number for a candidate of this round, never used before and never to be used again."""
        return self._write(generations.reserve, round_number, self._clock())

    def accept_round(
        self,
        number: int,
        *,
        generation: int,
        digest: str,
        scores: Mapping[str, SliceScore],
        document_scores: Iterable[DocumentScore] = (),
        verdict: Mapping[str, Any],
        report: Mapping[str, Any],
        trained: Trained | None = None,
    ) -> None:
        """Accept a round's candidate, in one transaction: the truth about what serves.

        Round and generation are accepted, the serving pointer moves, fresh samples that were trained on settle into
        replay, slices close. What was not trained on stays fresh, and what is held out of later text stays newest.

        Args:
            number: a round that is `judged`.
            generation: reserved by this round.
            digest: of its files.
            scores: R's row, by slice name.
            document_scores: of the generation on the held-out documents.
            verdict: the gate's word; JSON values only.
            report: summary of the learner's report; JSON values only. `report["prequential"]`, where given, is
                `{"mean_nll": nats, "tokens": n, "by_source": {source: {"mean_nll": nats, "tokens": n}}}`.
            trained: which samples it was trained on; None: on all that it was given to train on, and what it kept apart
                for early stopping settles with it.

        Raises:
            UnknownRound, UnknownGeneration, WrongState.
        """
        self._write(
            outcome.accept,
            number,
            generation=generation,
            digest=digest,
            scores=scores,
            document_scores=document_scores,
            verdict=verdict,
            report=report,
            trained=trained,
            now=self._clock(),
            settings=self._settings,
            salt=self._intake.salt,
        )

    def refuse_round(
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
        return self._write(
            outcome.refuse,
            number,
            verdict=verdict,
            report=report,
            detail=detail,
            against_text=against_text,
            now=self._clock(),
            settings=self._settings,
        )

    def hold_round(
        self, number: int, *, verdict: Mapping[str, Any], report: Mapping[str, Any], detail: str = ""
    ) -> int:
        """Let a `training` or `judged` round wait for a person: its fresh text and the newest slices go aside.

        Returns:
            How many samples were set aside.
        """
        return self._write(outcome.hold, number, verdict=verdict, report=report, detail=detail, now=self._clock())

    def abandon_round(
        self, number: int, *, verdict: Mapping[str, Any], report: Mapping[str, Any], detail: str = ""
    ) -> None:
        """End a dry run as `abandoned`, with what was said of it: its fresh samples wait, nothing else changes."""
        now = self._clock()
        self._write(ledger.end, number, RoundState.ABANDONED, verdict=verdict, report=report, detail=detail, now=now)

    def release_round(self, number: int) -> int:
        """A person's word for a `waiting` round: its text is fresh (or held out) again. Returns how many samples."""
        now, settings, salt = self._clock(), self._settings, self._intake.salt
        return self._write(outcome.release, number, now=now, settings=settings, salt=salt)

    def drop_round(self, number: int) -> int:
        """A person's word against a `waiting` round: its text is erased. Returns how many samples."""
        return self._write(outcome.drop, number, now=self._clock())

    def unfinished_rounds(self) -> list[Round]:
        """Rounds that are drawn, training or judged: what recovery has to finish or discard."""
        return self._read(ledger.unfinished)

    def waiting_rounds(self) -> list[int]:
        """Numbers of the rounds that wait for a person's word, oldest first, however long ago they were begun."""
        return self._read(ledger.waiting)

    def approved_rounds(self) -> list[ApprovedRound]:
        """Released rounds whose text no round has been judged on yet, oldest first."""
        return self._read(ledger.approved)

    def rounds(self, limit: int = 100, offset: int = 0) -> list[Round]:
        """The ledger of rounds, newest first."""
        return self._read(ledger.listed, limit, offset)

    def round(self, number: int) -> Round:
        """One round.

        Raises:
            UnknownRound: there is none of that number, or it has left the ledger.
        """
        return self._read(ledger.read, number)

    def round_samples(self, number: int, limit: int = -1, after: int = 0) -> list[TrainedSample]:
        """Which samples a round was given, also when their text is gone; none past the retention of lineage.

        Args:
            number: of the round.
            limit: most samples to return; negative: all.
            after: return those with greater ids.
        """
        return self._read(ledger.round_samples, number, limit, after)

    def round_text(self, number: int) -> dict[str, tuple[FoundSample, ...]]:
        """What is still kept of the text that a round was given to train on, by its part (`TrainedSample.part`)."""
        return self._read(ledger.round_text, number)

    def lineage_from(self) -> int:
        """The first round of which it is known which samples it was given."""
        return self._read(facts.get_int, "lineage_from")

    def prequential_history(self, limit: int = 20) -> list[Prequential]:
        """What fresh text cost the serving generation before it was trained on, newest round first."""
        return self._read(ledger.prequential_history, limit)

    def rounds_pause(self) -> RoundsPause | None:
        """That a person lets no round begin by itself; None while rounds may."""
        return self._read(pause.find)

    def pause_rounds(self, reason: str = "") -> RoundsPause:
        """A person's word that no round begins by itself until `resume_rounds`; what to make of it is the daemon's."""
        return self._write(pause.begin, reason, self._clock())

    def resume_rounds(self) -> bool:
        """End the pause; says whether there was one."""
        return self._write(pause.end)

    # --- generations ---

    def register_base(self, *, digest: str, source_path: str, generation: int = 0) -> None:
        """Enter the base model as generation 0, serving. Repeating it with the same digest changes nothing.

        Raises:
            WrongState: another base is registered.
        """
        self._write(
            generations.register_base, digest=digest, source_path=source_path, generation=generation, now=self._clock()
        )

    def serving(self) -> int | None:
        """The serving generation's number; None before a base is registered."""
        return self._read(facts.find_int, "serving")

    def serving_line(self) -> frozenset[int]:
        """The generations that led to the serving one, itself among them; empty where none serves."""
        return frozenset(self._read(generations.serving_line))

    def generations(self) -> list[Generation]:
        """The ledger of generations, oldest first, with R's rows: those of the latest rounds, and what still counts."""
        return self._read(generations.listed)

    def generation(self, number: int) -> Generation:
        """One generation, also one that has left the ledger.

        Raises:
            UnknownGeneration: there is none of that number, or it is too long ago.
        """
        return self._read(generations.read, number)

    def rollback(self, to: int | None = None, *, by: str = "") -> tuple[int, int]:
        """Move the serving pointer back to `to`, or to the serving generation's parent.

        The one rolled back from is flagged, and is not promoted again by itself.

        Args:
            to: the generation that is to serve.
            by: whose word it is, kept for `last_rollback`.

        Returns:
            The generations (from, to).

        Raises:
            UnknownGeneration, WrongState: `to` is not there, was never accepted, is retired or serves already.
        """
        return self._write(generations.rollback, to, by=by, now=self._clock())

    def last_rollback(self) -> Rollback | None:
        """The latest rollback; None where there was none."""
        return self._read(generations.last_rollback)

    def retire_generations(self, numbers: Sequence[int]) -> None:
        """Note that these generations' files were removed: their ledger line stays, their per-document scores go.

        Those of the best so far on some slice stay: what comes later is compared with it, however long ago it served.

        Raises:
            WrongState: one of them serves.
        """
        self._write(generations.retire, numbers)

    def score_matrix(self) -> list[ScoreRow]:
        """R, as recorded: of the base and the latest generations, and of those that were best, oldest first."""
        return self._read(generations.score_matrix)

    def scored_in(self) -> dict[int, int | None]:
        """The sequence length, in tokens, in which each row of R was taken last; None where no recipe tells it."""
        return self._read(generations.scored_in)

    def save_scores(self, generation: int, scores: Mapping[str, SliceScore]) -> None:
        """Add to R's row of a generation (the base's score on a new slice, say); known ones are replaced."""
        self._write(generations.save_scores, generation, scores)

    def document_scores(self, generation: int) -> dict[int, DocumentScore]:
        """What is known of a generation's scores on held-out documents that are still kept, by sample id."""
        return self._read(generations.document_scores, generation)

    def save_document_scores(self, generation: int, rows: Iterable[DocumentScore]) -> None:
        """Keep a generation's scores on held-out documents; those of documents no longer kept are ignored."""
        self._write(generations.save_document_scores, generation, rows)
