"""What one key has taken of what it may take: a minute's requests and tokens, answers at once, a day's tokens.

Pure but for its clocks. Not guarded: it belongs to the event loop.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from math import ceil
from typing import Final, Literal

from serving.keys.limits import KeyLimits
from serving.pace import Pace

Limit = Literal["requests_per_minute", "tokens_per_minute", "at_once", "tokens_per_day"]
DAY_S: Final = 86_400
ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a key may take no more for now.

    Attributes:
        limit: that is reached.
        most: what it allows.
        retry_after_s: when there is some again, if the key takes nothing else meanwhile; at least 1.
    """

    limit: Limit
    most: int
    retry_after_s: int


class Bucket:
    """What may be taken in a minute: it fills up evenly, and never beyond a minute's worth.

    Args:
        most: in a minute.
        now: monotonic seconds; here and below.
        level: to begin with.
    """

    def __init__(self, most: int, now: float, level: float | None = None) -> None:
        self.most = most
        self._level = float(most) if level is None else min(level, most)
        self._at = now

    def level(self, now: float) -> float:
        """What is left; below 0 where more was taken than there was."""
        self._level = min(self.most, self._level + self.most / 60 * (now - self._at))
        self._at = now
        return self._level

    def take(self, amount: int, now: float) -> None:
        """Take some, also more than is left; of less than 0 it is given back."""
        self._level = min(self.most, self.level(now) - amount)

    def wait_s(self, now: float) -> float:
        """Seconds until there is one."""
        missing = 1 - self.level(now)
        # Who has waited as long as was said is not sent away for what rounding cut off.
        return missing * 60 / self.most if missing > ROUNDING else 0.0

    def fill_s(self, now: float) -> float:
        """Seconds until it is full."""
        return (self.most - self.level(now)) * 60 / self.most


class DayCount:
    """A key's tokens of one day (UTC).

    Attributes:
        kept: those on disk, of all processes that count there.
        unsaved: those that are not there yet.
        reserved: what answers under way may take at most.
    """

    def __init__(self, day: date) -> None:
        self.day = day
        self.kept = self.unsaved = self.reserved = 0

    def turn(self, day: date) -> None:
        """Begin anew where it is another day; answers under way are counted to that in which they end."""
        if day != self.day:
            self.day, self.kept, self.unsaved = day, 0, 0


class KeyMeter:
    """One key's.

    Args:
        limits: what it may take.
        clock: monotonic seconds.
        wall: seconds since 1970, for the day.
    """

    def __init__(
        self,
        limits: KeyLimits,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._clock, self._wall = clock, wall
        self.limits = KeyLimits()
        self.held = 0
        self._pace = Pace(clock)
        self.requests: Bucket | None = None
        self.tokens: Bucket | None = None
        self._day = DayCount(self._today())
        self.change(limits)

    def change(self, limits: KeyLimits) -> None:
        """Give it other limits; what it has taken stays taken."""
        self.requests = self._bucket(self.requests, limits.requests_per_minute)
        self.tokens = self._bucket(self.tokens, limits.tokens_per_minute)
        self.limits = limits

    def _bucket(self, before: Bucket | None, most: int | None) -> Bucket | None:
        if most is None:
            return None
        now = self._clock()
        # The same share of it is left.
        level = None if before is None else before.level(now) / before.most * most
        return Bucket(most, now, level)

    @property
    def day(self) -> DayCount:
        """What it took today."""
        self._day.turn(self._today())
        return self._day

    def refusal(self, answers: int = 1) -> Refusal | None:
        """Why it may not take so many answers more; None where it may."""
        now, limits, day = self._clock(), self.limits, self.day
        if self.tokens is not None and (wait := self.tokens.wait_s(now)) > 0:
            return Refusal("tokens_per_minute", self.tokens.most, max(1, ceil(wait)))
        if limits.tokens_per_day is not None and day.kept + day.unsaved + day.reserved >= limits.tokens_per_day:
            # What is only reserved may come back long before midnight.
            used_up = day.kept + day.unsaved >= limits.tokens_per_day
            wait = DAY_S - self._wall() % DAY_S if used_up else self._pace.seconds_for(1, guess=1)
            return Refusal("tokens_per_day", limits.tokens_per_day, max(1, ceil(wait)))
        if limits.at_once is not None and self.held + answers > limits.at_once:
            beyond = self.held + answers - limits.at_once
            return Refusal("at_once", limits.at_once, self._pace.seconds_for(beyond, guess=1))
        return None

    def count_request(self) -> Refusal | None:
        """Take one request; why it may not."""
        if self.requests is None:
            return None
        now = self._clock()
        if (wait := self.requests.wait_s(now)) > 0:
            return Refusal("requests_per_minute", self.requests.most, max(1, ceil(wait)))
        self.requests.take(1, now)
        return None

    def return_request(self) -> None:
        """Give one back."""
        if self.requests is not None:
            self.requests.take(-1, self._clock())

    def hold(self, answers: int, tokens: int) -> None:
        """Begin answers, which may take so many tokens at most, those of their prompts among them."""
        if not self.held:
            self._pace.begin()
        self.held += answers
        self.day.reserved += tokens
        if self.tokens is not None:
            self.tokens.take(tokens, self._clock())

    def release(self, answers: int, tokens: int, used: int | None) -> None:
        """End answers that were begun; of their tokens so many were used, None: they were not begun after all."""
        self.held -= answers
        for _ in range(0 if used is None else answers):
            self._pace.step()
        self.day.reserved -= tokens
        self.day.unsaved += used or 0
        if self.tokens is not None:
            self.tokens.take((used or 0) - tokens, self._clock())

    def headers(self) -> dict[str, str]:
        """What is left of a minute's worth, as OpenAI's clients know it."""
        now = self._clock()
        named: dict[str, str] = {}
        for what, bucket in (("requests", self.requests), ("tokens", self.tokens)):
            if bucket is not None:
                named[f"x-ratelimit-limit-{what}"] = str(bucket.most)
                named[f"x-ratelimit-remaining-{what}"] = str(max(0, int(bucket.level(now))))
                named[f"x-ratelimit-reset-{what}"] = _span(bucket.fill_s(now))
        return named

    def _today(self) -> date:
        return datetime.fromtimestamp(self._wall(), UTC).date()


def _span(seconds: float) -> str:
    """As OpenAI writes it: 120ms, 6s, 1m30s."""
    if seconds < 1:
        return f"{ceil(seconds * 1000)}ms"
    minutes, rest = divmod(ceil(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
