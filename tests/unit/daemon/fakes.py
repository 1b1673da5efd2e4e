"""A control that answers from memory and notes what it was asked."""

from collections.abc import Sequence
from typing import Any

from daemon.errors import Busy, Refused, UnknownThing
from memory.samples.records import KeyHash


class FakeControl:
    """Implements `daemon.control.protocol.Control`; `calls` are the operations that change something."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """As new."""
        self.calls: list[tuple[Any, ...]] = []
        self.ready = True
        self.healthy = True
        self.ended: list[Any] = []

    def status(self) -> Any:
        """A daemon between rounds."""
        return {
            "running": True,
            "version": "0",
            "pid": 1,
            "started_at": 0.0,
            "state_dir": "/state",
            "serving": {
                "generation": 2,
                "erased_text": None,
                "answering": 2,
                "address": "http://127.0.0.1:1",
                "ok": True,
                "trouble": "",
            },
            "round": None,
            "last_round": None,
            "memory": dict.fromkeys(
                ("fresh_samples", "fresh_tokens", "replay_samples", "holdout_samples", "aside_samples", "dead_letters"),
                0,
            ),
            "ingest": {"lag_records": 0, "paused": {}, "reason": "", "trouble": ""},
            "next_round": "waiting for somebody to ask",
            "need_restart": ["streams"],
            "settings_refused": None,
            "parts": self.readiness()["parts"],
            "waiting": [],
            "rounds_paused": None,
        }

    def health(self) -> Any:
        """As the test set it."""
        return {"healthy": self.healthy, "detail": ""}

    def readiness(self) -> Any:
        """As the test set it."""
        return {"ready": self.ready, "parts": {"ingest": {"ok": self.ready, "detail": "broker b:9092 is away"}}}

    def settings(self) -> Any:
        """One that the file sets, and one that waits."""
        line = {"key": "admin.port", "value": 8711, "default": 8710, "origin": "file", "place": "riverkeep.toml line 3"}
        waits = {"key": "learner.recipe.kl", "value": None, "default": 1.0, "origin": "earlier", "place": ""}
        lines = [{**line, "waits": False, "about": "Its port."}, {**waits, "waits": True, "about": "Its strength."}]
        return {"file": "riverkeep.toml", "running": True, "settings": lines, "mistakes": ""}

    def audit(self, *, limit: int = 50, before: int | None = None) -> Any:
        """Lines 3 to 1."""
        numbers = [number for number in (3, 2, 1) if before is None or number < before]
        return [
            {"id": number, "at": 0.0, "who": "ada@host", "what": "pause_rounds", "detail": {"reason": "a look"}}
            for number in numbers[:limit]
        ]

    def rounds(self, *, limit: int = 50, before: int | None = None) -> list[Any]:
        """Rounds 9 to 1, and those that the test added."""
        numbers = [number for number in range(9, 0, -1) if before is None or number < before]
        return (self.ended + [{"number": number, "state": "accepted"} for number in numbers])[:limit]

    def round(self, number: int) -> Any:
        """Any round up to 9, or one that the test added."""
        for one in self.ended:
            if one["number"] == number:
                return one
        if number > 9:
            raise UnknownThing(f"There is no round {number}.")
        return {"number": number, "state": "accepted"}

    def round_samples(self, number: int, *, limit: int = 500, after: int = 0) -> Any:
        """Samples 1 to 3 of any round up to 9."""
        self.round(number)
        ids = [one for one in (1, 2, 3) if one > after]
        rows = [{"id": one, "part": "fresh", "topic": "news", "partition": 0, "offset": one} for one in ids[:limit]]
        return {"round": number, "samples": rows, "next": ids[limit - 1] if len(ids) > limit else None, "note": ""}

    def explain_round(self, number: int) -> Any:
        """Any round up to 9: a bound that was broken, one that was kept, and what to do."""
        self.round(number)
        limits = {"bound": 0.05, "lower": 0.02, "upper": 0.2, "unit": "nats per token", "documents": 9, "keys": 9}
        broken = {"name": "parent", "slice": "news@1-1", "figure": 0.1, **limits, "passed": False, "unproven": False}
        return {
            "number": number,
            "state": "refused",
            "outcome": "refused",
            "began": ["It began because 40 samples are fresh."],
            "ended": ["The gate refused it: [bold]worse\x1b[2J."],
            "criteria": [
                {**broken, "decided": True, "sentence": "on slice news@1-1 it is worse"},
                {**broken, "decided": False, "passed": True, "sentence": "kept"},
            ],
            "next": [{"text": "Begin another.", "command": "riverkeep round begin"}],
        }

    def flips(self, number: int, *, limit: int = 20, text: bool = False) -> Any:
        """Of any round up to 9 a hostile document that is worse, and one that was erased."""
        self.round(number)
        place = {"topic": "news", "partition": 0, "offset": 7, "event_time": None, "arrived_at": 0.0}
        sample = {"id": 1, "role": "holdout", "source": "news", "label": None, **place}
        sample |= {"text": "[bold]a text \x1b[2J"} if text else {}
        figures = {"slice": "news@1-1", "before": 2.0, "after": 2.5, "tokens": 9}
        one = {"id": 1, **figures, "answer_before": None, "answer_after": None, "sample": sample, "characters": 9}
        gone = one | {"id": 2, "sample": None, "characters": None, "erased_at": 0.0}
        counts = {"documents": 9, "documents_then": 9, "worse": 2, "better": 0, "erased": 1, "left": 0, "note": ""}
        head = {"round": number, "parent": 2, "generation": 3, "candidate": "0.25", "scores": "report"}
        of = {"unit": "nats per token", "margin": 0.1, "best": []}
        return head | of | counts | {"worst": [one | {"erased_at": None}, gone][:limit]}

    def trace(self, topic: str, number: int, offset: int, *, text: bool = False) -> Any:
        """A replayed record of anybody, which an erasure would take from a round in progress."""
        place = {"topic": topic, "partition": number, "offset": offset, "incarnation": ""}
        sample = {"id": 1, "role": "replay", "source": "news", "label": None, **place, "event_time": None}
        sample |= {"arrived_at": 0.0, **({"text": "a text \x1b[2J"} if text else {})}
        use = {"round": 1, "part": "fresh", "state": "accepted", "generation": 1, "detail": "trained on"}
        seen = {"generations": [1], "descendants": [2], "lineage_from": 1}
        record = {**place, "became": "replay", "detail": f"{topic}/{number}/{offset}", "sample": sample, "slice": None}
        record |= {"aside_round": None, "refusals": 0, "dead_letter": None, "gap": None, "rounds": [use], **seen}
        record |= {"scored_by": [0, 1], "key_hashes": ["0" * 16], "erased_at": None}
        return {"records": [record], "next": None, "erasures": [self._erasure("0" * 16)]}

    def trace_key(self, key: str | KeyHash, *, text: bool = False, limit: int = 50, after: int = 0) -> Any:
        """The same record."""
        answer = self.trace("news", 0, 7, text=text)
        return answer | {"erasures": [self._erasure(str(key))], "next": 7}

    def _erasure(self, key_hash: str) -> Any:
        seen = {"generations": [1], "descendants": [2], "clean_generation": 0, "lineage_from": 1}
        amounts = {"samples": 1, "dead_letters": 0, "feedback": 0, "rounds": [{"round": 1, "parts": {"fresh": 1}}]}
        told = {"directories": ["/state/rounds/000001"], "calls_off": {"round": 3, "seconds": 90.0}, "erased_at": 0.0}
        return {"key_hash": key_hash, **amounts, **told, **seen, "command": "riverkeep forget zoe", "similar": []}

    def find(self, key: str | KeyHash, *, text: bool = False, limit: int = 50, after: int = 0) -> Any:
        """One sample of anybody but `nobody`."""
        if key == "nobody":
            raise UnknownThing("Nothing is kept of that key.")
        place = {"topic": "news", "partition": 0, "offset": 7, "event_time": None, "arrived_at": 0.0}
        kept = {
            "id": 1,
            "role": "fresh",
            "source": "news",
            "label": None,
            **place,
            **({"text": str(key)} if text else {}),
        }
        return {
            "samples": 1,
            "by_role": {"fresh": 1},
            "kept": [] if after else [kept][:limit],
            "next": None,
            "dead_letters": 0,
            "dead_letter_ids": [],
            "rounds": [{"round": 1, "parts": {"fresh": 1}}],
            "erased_at": None,
            "generations": [1],
            "descendants": [2],
            "clean_generation": 0,
            "lineage_from": 1,
        }

    def gaps(self, *, limit: int = 50, before: int | None = None) -> list[Any]:
        """Ids 3 to 1."""
        one = {"topic": "news", "partition": 0, "first": 4, "last": 9, "reason": "retention", "recorded_at": 0.0}
        return [{"id": number, **one} for number in (3, 2, 1) if before is None or number < before][:limit]

    def generations(self) -> Any:
        """The base, one made of it and one more, which serves."""
        numbers = [{"number": number, "parent": number - 1 if number else None} for number in range(3)]
        return {"serving": 2, "generations": numbers, "slices": [], "scores": []}

    def generation(self, number: int) -> Any:
        """Of any up to 2, as beside the base."""
        compared = self.diff_generations(0, number)
        attempt = {
            "round": 8,
            "state": "refused",
            "parent": number,
            "generation": None,
            "begun_at": 0.0,
            "ended_at": 1.0,
        }
        led_here = {"lineage": [*dict.fromkeys((0, number))], "children": [], "recipe": {"kl": 1.0}}
        attempts = [attempt | {"offsets": {"[b]\x1b[2J/0": [13, 40]}}]
        return compared["second"] | led_here | {"attempts": attempts, "learned": compared["of_second"]}

    def diff_generations(self, number: int, other: int) -> Any:
        """Of any up to 2: one hostile partition, one setting, one slice."""
        if max(number, other) > 2:
            raise UnknownThing("There is no such generation.")
        line = {"state": "accepted", "parent": 0, "digest": "0" * 64, "created_at": 0.0, "sequence_length": 9}
        line |= {"erased_text": "trained", "lies_on": None, "serves": False}
        step: dict[str, Any] = {
            "generation": other,
            "parent": number,
            "round": 7,
            "fresh_samples": 5,
            "fresh_tokens": 50,
        }
        step |= {"replay_samples": 3, "tokens_trained": None, "tokens_drawn": None, "sources": [], "erased": 1}
        nothing = {"steps": [], "left_out": 0, "samples": 0, "tokens": 0, "replayed": 0, "offsets": {}, "erased": 0}
        learned = {"steps": [step | {"offsets": {}}], "left_out": 4, "samples": 5, "tokens": 50, "replayed": 3}
        learned |= {"offsets": {"[b]\x1b[2J/0": [[0, 9], [12, 12]]}, "erased": 1}
        score = {"slice": "anchor", "first": 2.5, "second": 2.25, "change": -0.25, "comparable": True}
        return {
            "first": {"number": number, "round": None, "bytes": None, **line},
            "second": {"number": other, "round": 7, "bytes": 1024, **line},
            "common": number,
            "of_first": nothing,
            "of_second": learned,
            "recipe": [{"name": "kl", "first": None, "second": 1.0}],
            "recipe_alike": 8,
            "scores": [score | {"accuracy_first": None, "accuracy_second": None}],
            "notes": ["A note [b]."],
        }

    def serving(self) -> Any:
        """Nothing serves here."""
        told: dict[str, Any] = {
            "since": None,
            "swap_seconds": None,
            "failed": {},
            "problem": "",
            "counted": None,
            "swaps": [],
        }
        return {"standing": self.status()["serving"], **told, "canary": None}

    def latency(self, *, hours: int = 1) -> Any:
        """Nothing serves here."""
        told = {"since": None, "begins": 0.0, "until": 3_600.0 * hours, "slot_seconds": 60}
        return told | {"slots": [], "swaps": [], "watched": []}

    def streams(self) -> Any:
        """A partition that is read, and one that was."""
        amount = {"documents": 120, "dead_letters": 3, "bytes": 9_000}
        read = {"topic": "news", "partition": 0, "next_offset": 123, "moved_at": 0.0, "lag": 7, "paused": ""}
        read |= {"gap_offsets": 0, "since_start": amount, "minute": {**amount, "seconds": 60.0}, "hour": None}
        was = read | {"partition": 1, "lag": None, "since_start": None, "minute": None, "gap_offsets": 5}
        form = {"form": "json_text", "documents": 120, "dead_letters": 0}
        refused = {"form": "other", "documents": 0, "dead_letters": 3}
        topic = {"topic": "news", "since_start": amount, "forms": [form, refused], "reasons": {"not_json": 3}}
        return {
            "reading": self.status()["ingest"] | {"lag_records": 7, "lag_by_partition": {"news/0": 7}},
            "since": 0.0,
            "since_start": amount,
            "minute": {**amount, "seconds": 60.0},
            "hour": {**amount, "seconds": 3_600.0},
            "became": {"fresh": 100, "duplicates": 20, "dead_letters": 3},
            "partitions": [read, was],
            "topics": [topic | {"packed": {"zstd": 123}}],
            "counted_together": 0,
            "gaps": self.gaps(),
            "gap_offsets": 18,
            "dead_letter_reasons": {"not_json": 3},
        }

    def peek(
        self, topic: str, *, number: int | None = None, offset: int | None = None, count: int = 5, text: bool = False
    ) -> Any:
        """A document and a dead letter, both hostile."""
        at = 7 if offset is None else offset
        place = {"topic": topic, "partition": number or 0, "offset": at, "time": 0.0, "value_bytes": 90}
        ways = {"form": "json_text", "packed": "zstd", "becomes": "document", "reason": None, "detail": ""}
        of = {"source": "news", "label": "[bold]label", "characters": 9}
        said = {"key": "user-1", "text": "[bold]a text \x1b[2J", "cut": True, "headers": [["trace", "4\x1b[2J"]]}
        dead = {"becomes": "dead_letter", "reason": "not_json", "detail": "no \x1b[2J", "source": None}
        first = place | ways | of | (said if text else {})
        second = first | dead | {"offset": at + 1, "label": None, "characters": None, "form": "other"}
        ranges = [{"partition": number or 0, "first": 3, "next": 90}]
        facts = {"topic": topic, "is_read": True, "format": "json", "partitions": 2, "ranges": ranges}
        return facts | {"records": [first, second][:count], "note": ""}

    def memory(self) -> Any:
        """Nothing."""
        return {"kept": []}

    def next_draw(self) -> Any:
        """Forty samples of news, twenty replayed, and an anchor."""
        parts = [
            {"part": "fresh", "source": "news", "samples": 40, "tokens": 4_000},
            {"part": "replay", "source": "[bold]old\x1b[2J", "samples": 20, "tokens": 2_000},
        ]
        slices = [{"kind": "anchor", "source": "", "documents": 30}]
        left = [{"what": "fresh", "documents": 7, "setting": "memory.round_tokens"}]
        told = {"parts": parts, "slices": slices, "left_out": left, "replay_ratio": 0.5, "judges_again": ""}
        return {"round": 10, "parent": 2, **told}

    def request_round(self, *, dry_run: bool = False) -> Any:
        """Notes it; a dry run is refused."""
        self.calls.append(("request_round", dry_run))
        if dry_run:
            raise Refused("Nothing is fresh.")
        return {"after": 9, "detail": "asked"}

    def withdraw_round(self, *, dry_run: bool = False) -> Any:
        """Notes it."""
        self.calls.append(("withdraw_round", dry_run))
        return {"withdrawn": True}

    def cancel_rounds(self) -> Any:
        """Notes it."""
        self.calls.append(("cancel_rounds", None))
        return {"round": 9, "withdrawn": 1, "detail": "Round 9 is called off."}

    def approve_round(self, number: int) -> Any:
        """Notes it."""
        self.calls.append(("approve_round", number))
        return {"after": 9, "detail": "approved"}

    def reject_round(self, number: int) -> Any:
        """Notes it."""
        self.calls.append(("reject_round", number))
        return {"round": number, "dropped": 3}

    def pause_rounds(self, reason: str = "") -> Any:
        """Notes it."""
        self.calls.append(("pause_rounds", reason))
        return {"since": 1.0, "reason": reason or "a first reason", "already": not reason}

    def resume_rounds(self) -> Any:
        """Notes it."""
        self.calls.append(("resume_rounds", None))
        return {"resumed": True}

    def rollback(self, generation: int | None = None) -> Any:
        """Notes it."""
        self.calls.append(("rollback", generation))
        return {"from": 2, "to": 1 if generation is None else generation}

    def promote_canary(self, generation: int | None = None) -> Any:
        """Notes it."""
        self.calls.append(("promote_canary", generation))
        return {"from": 2, "to": 3}

    def take_back_canary(self, generation: int | None = None) -> Any:
        """Notes it."""
        self.calls.append(("take_back_canary", generation))
        return {"generation": 3, "serving": 2}

    def picks(self) -> list[Any]:
        """One pair, of which two people found the second better."""
        return [self._tally()]

    def _tally(self) -> Any:
        counts = {"first": 1, "second": 2, "first_better": 1, "second_better": 4, "equal": 2, "people": 2}
        limits = {"first_share": 0.2, "first_share_lower": 0.036, "first_share_upper": 0.624}
        return {**counts, **limits, "latest_at": 0.0}

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
    ) -> Any:
        """Notes it; one is under way already where the prompt says so."""
        self.calls.append(("compare", prompt, first, second, blind, chat, max_tokens, temperature, seed))
        if prompt == "busy":
            raise Busy("Another comparison is under way.", retry_after_s=7)
        return {**self.comparison(7), "state": "running", "doing": "its process begins", "blind": blind, "answers": []}

    def comparison(self, number: int) -> Any:
        """Number 7, which has answered, one of the two hostilely."""
        if number != 7:
            raise UnknownThing(f"There is no comparison {number} any more.")
        answer = {"text": "[bold]an answer\x1b[2J", "finish": "length", "labels": [], "truncated": False, "tokens": 9}
        answer |= {"prompt_tokens": 3, "seconds_loading": 1.5, "seconds_answering": 0.5}
        label = {"label": "[b]flood\x1b[2J", "probability": 0.75}
        labelled = {**answer, "text": "", "labels": [label], "truncated": True}
        how = {"blind": False, "chat": False, "max_tokens": 128, "temperature": 0.0, "seed": 0}
        return {
            "number": number,
            "state": "answered",
            "detail": "",
            "doing": "",
            "first": 1,
            "second": 2,
            "prompt": "The river",
            **how,
            "begun_at": 0.0,
            "seconds": 4.0,
            "answers": [
                {"side": "left", "generation": 1, **answer},
                {"side": "right", "generation": 2, **labelled},
            ],
            "picked": None,
            "picked_by": "",
            "tally": self._tally(),
        }

    def pick_answer(self, number: int, choice: str) -> Any:
        """Notes it."""
        self.calls.append(("pick_answer", number, choice))
        return {**self.comparison(number), "blind": True, "picked": choice, "picked_by": "ada@host"}

    def cancel_comparison(self, number: int) -> Any:
        """Notes it."""
        self.calls.append(("cancel_comparison", number))
        return {**self.comparison(number), "state": "failed", "detail": "It was called off.", "answers": []}

    def resume(self, partition: str | None = None) -> Any:
        """Notes it."""
        self.calls.append(("resume", partition))
        return {"resumed": [partition or "news/0"]}

    def forget(self, key: str | KeyHash) -> Any:
        """Notes it."""
        self.calls.append(("forget", key))
        erased = {"samples": 1, "dead_letters": 0, "rounds": [1], "directories": []}
        return erased | {"generations": [1], "descendants": [2], "clean_generation": 0, "lineage_from": 1}

    def aside(self) -> list[Any]:
        """One group."""
        return [{"round": 3, "samples": 5}]

    def aside_text(
        self, number: int, *, limit: int = 50, after: int = 0, worst: bool = False, text: bool = False
    ) -> Any:
        """Documents 1 to 3 of any round up to 9; the second is hostile."""
        if number > 9:
            raise UnknownThing(f"Round {number} has set nothing aside.")
        place = {"topic": "news", "partition": 0, "offset": 7, "event_time": None, "arrived_at": 0.0}
        one = {"role": "aside", "source": "news", "label": None, "held_out": False, "key_hash": None, **place}
        one |= {"characters": 6, "loss": 9.5 if worst else None, "repetition": 0.8 if worst else None}
        rows: list[Any] = [
            {"id": id_, **one, **({"text": f"text {id_}" + "\x1b]0;owned\x07" * (id_ == 2)} if text else {})}
            for id_ in (1, 2, 3)
        ]
        found = [row for row in rows if row["id"] > after]
        return {
            "round": number,
            "documents": found[:limit],
            "next": found[limit - 1]["id"] if len(found) > limit else None,
        }

    def release_aside(self, number: int, *, ids: Sequence[int] = ()) -> Any:
        """Notes it."""
        self.calls.append(("release_aside", number, tuple(ids)) if ids else ("release_aside", number))
        return {"round": number, "released": len(ids) or 5, "left": 0}

    def drop_aside(
        self, number: int, *, ids: Sequence[int] = (), source: str | None = None, key: str | None = None
    ) -> Any:
        """Notes it."""
        if source is not None or key is not None:
            self.calls.append(("drop_aside", number, tuple(ids), source, key))
            return {"round": number, "dropped": 9, "left": 3}
        self.calls.append(("drop_aside", number, tuple(ids)) if ids else ("drop_aside", number))
        return {"round": number, "dropped": len(ids) or 5, "left": 3 if ids else 0}

    def count_aside(self, number: int, *, source: str | None = None, key: str | None = None) -> Any:
        """Nine of twelve of source news, none of another."""
        samples = 9 if source in (None, "news") else 0
        return {"round": number, "samples": samples, "held_out": 0, "of": 12, "sources": {"news": 9, "wiki": 3}}

    def feedback(self, *, limit: int = 50, before: int | None = None, text: bool = False) -> Any:
        """Of generation 2; ids 2 and 1."""
        wanted = [number for number in (2, 1) if before is None or number < before]
        counted = {"generation": 2, "accepted": 1, "rejected": 1, "corrected": 1}
        return {"generations": [counted], "latest": [self._opinion(number, text=text) for number in wanted[:limit]]}

    def _opinion(self, number: int, *, text: bool) -> Any:
        said = {"id": number, "answer": "cmpl-1", "key": "web", "verdict": "reject" if number == 2 else "accept"}
        told = {"generation": 2, "answered_at": 0.0, "given_at": 0.0, "corrected": number == 2}
        kept = {"prompt": "one \x1b[2J", "text": "two", "correction": "three"}
        texts = kept if text and number == 2 else dict.fromkeys(kept)
        return {**said, **told, "learned": "yes" if number == 2 else None, **texts}

    def dead_letters(self, *, limit: int = 50, before: int | None = None, text: bool = False) -> list[Any]:
        """Ids 3 to 1."""
        wanted = [number for number in (3, 2, 1) if before is None or number < before]
        return [self._dead_letter(number, text=text) for number in wanted[:limit]]

    def dead_letter(self, number: int, *, text: bool = False) -> Any:
        """One of them."""
        if number > 3:
            raise UnknownThing(f"The quarantine has no dead letter {number}.")
        return self._dead_letter(number, text=text)

    def _dead_letter(self, number: int, *, text: bool) -> Any:
        place = {"topic": "news", "partition": 0, "offset": number, "arrived_at": 0.0, "published": False}
        told = {"reason": "not_json", "detail": "not JSON", "value_bytes": 9}
        return {"id": number, **place, **told, **({"key": None, "value": "{\x1b[2J", "cut": True} if text else {})}

    def replay_dead_letters(self, *, ids: Sequence[int] = ()) -> Any:
        """Notes it."""
        self.calls.append(("replay_dead_letters", tuple(ids)))
        return {"kept": 1, "known": 0, "still_dead": 2, "reasons": {"unknown_label": 2}, "need_restart": ["streams"]}

    def drop_dead_letters(self, *, ids: Sequence[int] = ()) -> Any:
        """Notes it."""
        self.calls.append(("drop_dead_letters", tuple(ids)))
        return {"dropped": len(ids) or 3}
