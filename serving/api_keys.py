"""Whose key a request bears, by the file of API keys, which is looked at again and again while serving goes on."""

import asyncio
import hmac
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from serving.door.bearer import digest_of, sent_digest
from serving.errors import CannotServe
from serving.keys.entries import KeyEntry, read_entries

_log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 0.25
NAMES_LOGGED: Final = 50
Signature = tuple[int, ...] | None
"""What changes when a file's content does; None: it cannot be looked at."""


@dataclass(frozen=True, slots=True)
class _KnownKeys:
    """The keys as they are now; replaced as a whole."""

    by_digest: Mapping[bytes, KeyEntry]
    closed: bool

    @classmethod
    def of(cls, entries: list[KeyEntry]) -> "_KnownKeys":
        by_digest: dict[bytes, KeyEntry] = {}
        # Hashed ones last: a key that is there in plain text as well has the name that its entry gives it.
        for entry in sorted(entries, key=lambda each: (each.characters is None, -each.line)):
            if entry.digest is not None:
                by_digest[entry.digest] = entry
        return cls(by_digest, closed=bool(entries))


class ApiKeys:
    """The API keys of a file; no file means that nobody needs one.

    Args:
        path: as `read_entries` reads it; None for no keys.
        daemon_key: with which the daemon that started this process asks; it is in no file.

    Raises:
        CannotServe: the file is unusable.
    """

    def __init__(self, path: Path | None, *, daemon_key: str | None = None) -> None:
        self._path = path
        self._daemon = None if daemon_key is None else digest_of(daemon_key)
        self._known, self._taken = self._read()
        self._seen = self._taken
        self._on_change: Callable[[list[KeyEntry]], None] = lambda _: None
        if plain := [entry.name for entry in self.entries if entry.characters is not None]:
            _log.warning(
                "api_keys_in_plain_text", keys=plain, remedy="riverkeep keys add NAME --stdin keeps their hash"
            )

    @property
    def needed(self) -> bool:
        """Whether anybody needs a key."""
        return self._known.closed

    @property
    def entries(self) -> list[KeyEntry]:
        """The keys that open the door now."""
        return list(self._known.by_digest.values())

    def find(self, authorization: bytes) -> KeyEntry | None:
        """The key that an `Authorization` header bears; None where it bears none that is known."""
        # Looked up, not compared with each: how long that takes says something of the hash of what was sent, and
        # nobody can choose that to be like another's.
        sent = sent_digest(authorization)
        return None if sent is None else self._known.by_digest.get(sent)

    def is_daemons(self, authorization: bytes) -> bool:
        """Whether a header bears the key of the daemon that started this process."""
        sent = sent_digest(authorization)
        return self._daemon is not None and sent is not None and hmac.compare_digest(sent, self._daemon)

    def tell(self, on_change: Callable[[list[KeyEntry]], None]) -> None:
        """Let somebody know the keys: now, and whenever they have changed; on the event loop."""
        self._on_change = on_change
        on_change(self.entries)

    async def follow(self, asked: asyncio.Event) -> None:
        """Take what changes in the file, until cancelled.

        Args:
            asked: set to have it read at once, also where it does not look changed.
        """
        while self._path is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await asked.wait()
            at_once = asked.is_set()
            asked.clear()
            try:
                # Beside the event loop: a file may be on a disk that does not answer.
                known = await asyncio.to_thread(self._look, at_once=at_once)
                if known is not None:
                    self._take(known)
            except Exception as error:  # noqa: BLE001 - were this loop to end, a revoked key would open the door for ever
                _log.error("api_keys_not_followed", error=f"{type(error).__name__}: {error}")

    def _look(self, *, at_once: bool) -> _KnownKeys | None:
        """What the file holds, if that has changed and does so no more: an editor may be writing at this moment."""
        before, self._seen = self._seen, self._signature()
        if not at_once and (self._seen == self._taken or self._seen != before):
            return None
        try:
            known, self._taken = self._read()
        except CannotServe as error:
            # Told once, not at each look.
            self._taken = self._seen
            _log.error("api_keys_not_reloaded", reason=str(error), remedy="mend the file; those from before stay")
            return None
        return known

    def _take(self, known: _KnownKeys) -> None:
        before, self._known = self._known, known
        names = [{entry.name for entry in each.by_digest.values()} for each in (before, known)]
        added, revoked = sorted(names[1] - names[0]), sorted(names[0] - names[1])
        shown = {"added": added[:NAMES_LOGGED], "revoked": revoked[:NAMES_LOGGED]}
        _log.info("api_keys_reloaded", keys=len(known.by_digest), **shown)
        self._on_change(self.entries)

    def _read(self) -> tuple[_KnownKeys, Signature]:
        if self._path is None:
            return _KnownKeys({}, closed=False), None
        # Before the content: what is written in between is seen at the next look.
        signature = self._signature()
        return _KnownKeys.of(read_entries(self._path)), signature

    def _signature(self) -> Signature:
        if self._path is None:
            return None
        try:
            found = self._path.stat()
        except OSError:
            return None
        # The last is for rights: a file that could not be read is the same file when it can be.
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
