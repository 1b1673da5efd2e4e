"""Who is signed in: a bounded number, for a bounded time, in memory alone, no longer than the token stays the same."""

import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from serving.door.bearer import digest_of

MOST: Final = 64
"""Sessions at once: the one that was not used for the longest makes room."""
LIFE_S: Final = 12 * 3600.0
IDLE_S: Final = 2 * 3600.0


@dataclass(slots=True)
class PageSession:
    """Somebody who is signed in.

    Attributes:
        who: for the audit log.
        form_token: stands in each form of theirs.
        token_digest: of the admin token that they signed in with.
        began, used: seconds of the sessions' clock.
        notice: said once, on the next page.
    """

    who: str
    token_digest: bytes
    began: float
    used: float
    form_token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    notice: str = ""

    def take_notice(self) -> str:
        """What is to be said, once."""
        notice, self.notice = self.notice, ""
        return notice

    def owns(self, form_token: str) -> bool:
        """Whether a form came from a page of this session."""
        return hmac.compare_digest(form_token.encode(errors="replace"), self.form_token.encode())


class Sessions:
    """Those who are signed in. Used on the event loop alone.

    Args:
        token: the admin token as it is now; sessions of an earlier one are over.
        clock: seconds, of any clock that never goes back.
    """

    def __init__(self, token: Callable[[], str], clock: Callable[[], float] = time.monotonic) -> None:
        self._token = token
        self._clock = clock
        self._sessions: dict[bytes, PageSession] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def admits(self, sent: str) -> bool:
        """Whether this is the admin token; the time does not tell what was wrong."""
        return hmac.compare_digest(digest_of(sent), digest_of(self._token()))

    def begin(self, who: str) -> str:
        """Sign somebody in; returns the secret that their browser keeps."""
        while len(self._sessions) >= MOST:
            del self._sessions[min(self._sessions, key=lambda key: self._sessions[key].used)]
        secret, now = secrets.token_urlsafe(32), self._clock()
        # By its digest: what can be read out of memory signs nobody in.
        self._sessions[digest_of(secret)] = PageSession(who, digest_of(self._token()), now, now)
        return secret

    def find(self, secret: str, *, by_itself: bool = False) -> PageSession | None:
        """The session of a browser that sends this; None where it is over, or there never was one.

        Args:
            by_itself: the browser asks without anybody doing anything, which is no use of the session.
        """
        key, now = digest_of(secret), self._clock()
        session = self._sessions.get(key)
        if session is None:
            return None
        if not self._lasts(session, now):
            del self._sessions[key]
            return None
        if not by_itself:
            session.used = now
        return session

    def is_alive(self, session: PageSession) -> bool:
        """Whether somebody is still signed in, without counting it as use."""
        return session in self._sessions.values() and self._lasts(session, self._clock())

    def _lasts(self, session: PageSession, now: float) -> bool:
        is_over = now - session.began > LIFE_S or now - session.used > IDLE_S
        return not is_over and hmac.compare_digest(session.token_digest, digest_of(self._token()))

    def end(self, secret: str) -> None:
        """Sign out; nothing where nobody is signed in by that."""
        self._sessions.pop(digest_of(secret), None)
