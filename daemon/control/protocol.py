"""What a person or a script can ask of Riverkeep: one protocol, whoever answers it.

`daemon/service.py` answers inside the running daemon, `daemon/control/store.py` on the store when no daemon runs,
and `daemon/admin/client.py` carries the questions to a running daemon over the admin surface.
"""

from collections.abc import Sequence
from typing import Any, Final, Protocol, TypeAlias

from memory.samples.records import KeyHash

Facts: TypeAlias = dict[str, Any]
"""JSON-ready facts: strings, numbers, booleans, None, and lists and dictionaries of them."""

LONGEST_REASON: Final = 500
"""Characters of why rounds are paused."""
LARGEST_ID: Final = 2**63 - 1
"""Of what the store numbers: samples, gaps, dead letters."""


class Control(Protocol):
    """The operations of `riverkeep` commands and of the admin surface.

    Called from several threads at once, and never from an event loop: each may block for a transaction of the
    store. Each raises `daemon.errors.DaemonError` (UnknownThing, Refused, BadRequest) with a sentence for a
    person, and has then changed nothing.
    """

    def status(self) -> Facts:
        """How things stand, in a few milliseconds and without asking Kafka.

        Keys (what only a running daemon knows is None without one):
            running, version, state_dir, pid, started_at (unix seconds);
            serving: {"generation", "erased_text" (as in `generations`), "answering" (what the serving process answers
            from), "address", "ok", "trouble" (why it is not ok; else empty)};
            round: the one in progress, {"number", "phase", "step", "steps", "work" (how much of the
            phase is done: {"done", "of", "unit", "seconds_left"}, or None), "begun_at", "reason" (why it began),
            "fresh_samples" (trained on), "early_stop_samples" (fresh too, kept apart to tell when to stop)}, or None;
            last_round: {"number", "state", "outcome" (for a person), "trigger", "detail", "ended_at", "tokens_trained"
            of "tokens_drawn" (of new text; None where nothing was trained)} or None;
            rollback: the latest, {"from", "to", "at" (unix seconds), "by" (whose word it was)}, or None;
            memory: {"fresh_samples", "fresh_tokens", "replay_samples", "holdout_samples", "aside_samples",
            "dead_letters"};
            ingest: {"lag_records": int, or None while not known, "paused": {partition: why}, "reason", "trouble"} or
                None;
            next_round: a sentence, what the triggers wait for; while a round runs, that its end is; without a daemon
                None, unless rounds are paused;
            evidence: what there is to judge a round by, were it begun now, [{"what" ("anchor" or "newest": documents;
                "labels": different ones, until a trained classifier serves), "found", "needed" (by a round that begins
                by itself: after a refusal for want of evidence more than the least)}];
            need_restart: sections of the settings that changed on disk and are not in force until a restart;
            settings_refused: {"at" (unix seconds), "mistakes": [{"key", "value", "place", "problem", "remedy"}]}
                where the latest reload found mistakes, so that the settings before it are in force; else None;
            parts: as in `readiness`;
            waiting: numbers of rounds that wait for a person;
            rounds_paused: {"since" (unix seconds), "reason"} while no round begins by itself, else None;
            memory_trouble: why the database cannot be used, and what to do; empty while it can. What only it knows is
                None meanwhile, `memory` too;
            unknown_generations: numbers of generations on disk that the database does not know.
        """

    def health(self) -> Facts:
        """`{"healthy": bool, "detail": str}`: whether the process's own loops turn, whatever Kafka does."""

    def readiness(self) -> Facts:
        """`{"ready": bool, "parts": {name: {"ok": bool, "detail": str}}}`; a part with back-off is not ok."""

    def rounds(self, *, limit: int = 50, before: int | None = None) -> list[Facts]:
        """Rounds, newest first; those with smaller numbers than `before`."""

    def round(self, number: int) -> Facts:
        """One round with its recipe, verdict, report and what it covers. Raises UnknownThing."""

    def round_samples(self, number: int, *, limit: int = 500, after: int = 0) -> Facts:
        """Which samples a round was given, in pages by id, also where their text is gone. Raises UnknownThing.

        Returns {"round", "samples": [{"id", "part" (fresh, replay, early_stop, slice, over_quota, or untouched: drawn
        to train on, and not), "topic", "partition", "offset"}], "next" (what `after` brings the next page; None where
        there is none), "note" (a sentence where more is not known any more, else empty)}.
        """

    def generations(self) -> Facts:
        """`{"serving": int | None, "generations": [...], "slices": [...], "scores": [...]}`.

        Each generation says in `erased_text` whether it was "trained" on text that was erased since or "inherited" it
        from one that was; None where neither is known. `scores` are the entries of R: {"generation", "slice",
        "mean_nll", "tokens", "documents", "accuracy", "macro_f1"}; `slices` their names in order.
        """

    def memory(self) -> Facts:
        """What is kept: samples and tokens by role and source, aside by round, dead letters by reason."""

    def request_round(self, *, dry_run: bool = False) -> Facts:
        """Ask for a round now; `dry_run`: gate without promoting.

        Returns at once: `{"after": number of the last round so far, "detail": sentence}`; the round that
        answers has a greater number, and begins when the one in progress has ended. Raises Refused when
        nothing is fresh.
        """

    def withdraw_round(self, *, dry_run: bool = False) -> Facts:
        """Take back a `request_round` that no round has begun to answer: `{"withdrawn": whether it still waited}`."""

    def cancel_rounds(self) -> Facts:
        """Call off the round in progress without effect, and take back what was asked for and has not begun.

        `{"round": number, or None where none runs, "withdrawn": asks that waited, "detail": sentence}`. By itself none
        begins before the cool-down is over. Raises UnknownThing where there is nothing to call off.
        """

    def approve_round(self, number: int) -> Facts:
        """Let a waiting round's text be trained on: plausibility is waived, the gate is not.

        Returns and raises as `request_round`.
        """

    def reject_round(self, number: int) -> Facts:
        """Erase the text of a round that waits: `{"round", "dropped": samples}`."""

    def pause_rounds(self, reason: str = "") -> Facts:
        """Let no round begin by itself, across restarts too: `{"since": unix seconds, "reason", "already"}`.

        A round in progress goes on, rounds that a person asks for begin, and text is read on. Where they are paused
        `already`, the time stays, and the reason too unless another is given.
        """

    def resume_rounds(self) -> Facts:
        """Let rounds begin by themselves again: `{"resumed": whether they were paused}`."""

    def rollback(self, generation: int | None = None) -> Facts:
        """Serve an earlier generation (None: the one before): `{"from": n, "to": m}`."""

    def resume(self, partition: str | None = None) -> Facts:
        """Read on where a flood of dead letters paused: `topic/number`, or all. `{"resumed": [partition]}`.

        Raises UnknownThing for a partition that is not read here.
        """

    def forget(self, key: str | KeyHash) -> Facts:
        """Erase what carries `key`, and name what had seen it.

        Returns {"samples", "dead_letters", "rounds", "generations", "descendants", "clean_generation",
        "lineage_from" (the first round of which it is known what it was given), "directories" (round directories
        erased), "similar" (as in `find`; of these nothing was erased), "called_off" (the round that was in progress and
        given the text; None where none was)}.
        """

    def find(self, key: str | KeyHash, *, text: bool = False, limit: int = 50, after: int = 0) -> Facts:
        """What is known of a person by key; changes nothing. Raises UnknownThing where nothing is.

        Returns {"samples": how many are kept, "by_role": {role: how many}, "kept": a page of them, [{"id", "role",
        "source", "label", "topic", "partition", "offset", "event_time", "arrived_at", and "text" if asked}], "next"
        (what `after` brings the next page; None where there is none), "dead_letters": how many, "dead_letter_ids":
        the first of them, "rounds": [{"round", "parts": {part: samples}}], "erased_at" (unix seconds, None where it
        never was), "key_hash" (16 digits), "similar": other keys of which something is kept, and that may name the same
        person in another dress, [{"key" (None where only its hash is known), "key_hash", "how", "samples",
        "dead_letters", "rounds" (how many were given its text), "erase" (the command that erases it)}],
        "calls_off": the round in progress that an erasure now would call off, as it was given the text, {"round",
        "seconds" (of its work)} or None, and "generations", "descendants", "clean_generation", "lineage_from" as in
        `forget`}.
        """

    def gaps(self, *, limit: int = 50, before: int | None = None) -> list[Facts]:
        """Offsets that never came, newest first; those with smaller ids than `before`.

        Each: {"id", "topic", "partition", "first", "last" (inclusive), "reason", "recorded_at"}.
        """

    def aside(self) -> list[Facts]:
        """What is set aside, by the round that set it aside, oldest first; never the text itself.

        Each: {"round", "reason", "since", "samples", "tokens", "held_out", "sources"}.
        """

    def aside_text(self, number: int, *, limit: int = 50, after: int = 0, worst: bool = False) -> Facts:
        """The text that round `number` set aside, in pages that are bounded in bytes too; by id, or `worst` loss first.

        Returns {"round", "documents": [{"id", "role", "source", "label", "topic", "partition", "offset", "event_time",
        "arrived_at", "held_out" (whether it was held-out text), "key_hash" (alike for documents of one person),
        "loss" (nats per token under the generation that served) and "repetition" (share that repeats; both None for
        what the round did not measure), "text"}], "next" (what `after` brings the next page; None where there is
        none)}. Raises UnknownThing.
        """

    def release_aside(self, number: int) -> Facts:
        """Let what round `number` set aside be fresh (or held out) again: `{"round", "released": samples}`."""

    def drop_aside(self, number: int, *, ids: Sequence[int] = ()) -> Facts:
        """Erase what round `number` set aside, or only these samples of it: `{"round", "dropped", "left": samples}`.

        Raises Refused, and erases nothing, where it has not set one of them aside.
        """

    def count_aside(self, number: int, *, source: str | None = None, key: str | None = None) -> Facts:
        """How much of what round `number` set aside is of that source, that key, or both; erases nothing.

        Returns {"round", "samples" (meant for training), "held_out", "of" (all that it set aside), "sources": {source:
        documents, of all that it set aside}}. Raises UnknownThing where it has set nothing aside.
        """

    def drop_aside_of(self, number: int, *, source: str | None = None, key: str | None = None) -> Facts:
        """Erase what round `number` set aside of that source, that key, or both: as `drop_aside`; may be nothing."""

    def dead_letters(self, *, limit: int = 50, before: int | None = None, text: bool = False) -> list[Facts]:
        """Quarantined records, newest first; those with smaller ids than `before`.

        Each: {"id", "topic", "partition", "offset", "reason", "detail", "value_bytes", "arrived_at", "published"}, and
        where `text` is asked for "key" and "value" (as UTF-8, other bytes as backslash escapes) and "cut" (whether the
        record was longer than what was kept), "headers" (the record's own, [name, value or None]) and
        "headers_dropped" (how many were not kept).
        """

    def dead_letter(self, number: int) -> Facts:
        """One of them, with its text. Raises UnknownThing."""

    def replay_dead_letters(self, *, ids: Sequence[int] = ()) -> Facts:
        """Decode them again under the present settings (none named: all).

        Returns `{"kept": stored now, "known": dropped as duplicates, "still_dead": n, "reasons": {reason: n of
        those}, "need_restart": sections of the settings that say how to decode, changed on disk, and are not in force
        until a restart}`.
        """

    def drop_dead_letters(self, *, ids: Sequence[int] = ()) -> Facts:
        """Erase them (none named: all). `{"dropped": n}`."""
