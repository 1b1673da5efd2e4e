"""`Control` over the admin surface of a running daemon."""

import json
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from daemon import errors
from daemon.control.asker import HEADER, local_user
from daemon.control.protocol import Facts
from daemon.errors import DaemonError, DaemonUnreachable
from memory.samples.records import KeyHash

CONNECT_S = 3.0
# Longer than a writer waits for a database that another program holds, so that this is what is told.
ANSWER_S = 60.0
# An erasure compacts the store and takes seconds a gigabyte, and so does a search that reads over it; a replay
# decodes the whole quarantine.
LONG_ANSWER_S = 3_600.0
CANCEL_ANSWER_S = 120.0
"""A learner that is told to end gets a while to do so."""
LONGEST_KEY_BYTES = 512 * 1024
"""As JSON, in a request; the daemon takes a little more."""

NAMED: Mapping[str, type[DaemonError]] = {
    kind.__name__: kind for kind in (errors.UnknownThing, errors.Refused, errors.BadRequest)
}
"""Errors that come through as themselves, so that the exit status is the same with and without a daemon."""


class RemoteControl:
    """Asks the daemon. Each method raises what the daemon's control raised, or DaemonUnreachable.

    Args:
        address: `http://host:port`.
        token: the bearer token.
        hashed: the daemon's hash of a key; needed for keys that are longer than a request.
    """

    def __init__(self, address: str, token: str, hashed: Callable[[str], KeyHash] | None = None) -> None:
        self._address = address
        self._hashed = hashed
        self._client = httpx.Client(
            base_url=address,
            headers={b"authorization": f"Bearer {token}".encode(), HEADER.encode(): local_user().encode()},
            timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
            # The daemon is on this machine or named by its operator; a proxy of the environment is not meant.
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def status(self) -> Facts:
        """See `Control.status`."""
        return self._get("/status")

    def health(self) -> Facts:
        """See `Control.health`."""
        return self._get("/healthz")

    def readiness(self) -> Facts:
        """See `Control.readiness`."""
        return self._get("/readyz")

    def rounds(self, *, limit: int = 50, before: int | None = None) -> list[Facts]:
        """See `Control.rounds`."""
        return self._rows("/rounds", limit=limit, before=before)

    def round(self, number: int) -> Facts:
        """See `Control.round`."""
        return self._get(f"/rounds/{number}")

    def round_samples(self, number: int, *, limit: int = 500, after: int = 0) -> Facts:
        """See `Control.round_samples`."""
        return self._get(f"/rounds/{number}/samples", limit=limit, after=after)

    def generations(self) -> Facts:
        """See `Control.generations`."""
        return self._get("/generations")

    def memory(self) -> Facts:
        """See `Control.memory`."""
        return self._get("/memory")

    def request_round(self, *, dry_run: bool = False) -> Facts:
        """See `Control.request_round`."""
        return self._post("/rounds", {"dry_run": dry_run})

    def withdraw_round(self, *, dry_run: bool = False) -> Facts:
        """See `Control.withdraw_round`."""
        return self._post("/rounds/withdraw", {"dry_run": dry_run})

    def cancel_rounds(self) -> Facts:
        """See `Control.cancel_rounds`."""
        return self._post("/rounds/cancel", {}, timeout=CANCEL_ANSWER_S)

    def approve_round(self, number: int) -> Facts:
        """See `Control.approve_round`."""
        return self._post(f"/rounds/{number}/approve", {})

    def reject_round(self, number: int) -> Facts:
        """See `Control.reject_round`."""
        return self._post(f"/rounds/{number}/reject", {})

    def pause_rounds(self, reason: str = "") -> Facts:
        """See `Control.pause_rounds`."""
        return self._post("/rounds/pause", {"reason": reason})

    def resume_rounds(self) -> Facts:
        """See `Control.resume_rounds`."""
        return self._post("/rounds/resume", {})

    def rollback(self, generation: int | None = None) -> Facts:
        """See `Control.rollback`."""
        return self._post("/rollback", {"generation": generation})

    def resume(self, partition: str | None = None) -> Facts:
        """See `Control.resume`."""
        return self._post("/resume", {"partition": partition})

    def forget(self, key: str | KeyHash) -> Facts:
        """See `Control.forget`."""
        return self._post("/forget", self._named(key), timeout=LONG_ANSWER_S)

    def find(self, key: str | KeyHash, *, text: bool = False, limit: int = 50, after: int = 0) -> Facts:
        """See `Control.find`."""
        body = self._named(key) | {"text": text, "limit": limit, "after": after}
        return self._post("/memory/find", body, timeout=LONG_ANSWER_S)

    def gaps(self, *, limit: int = 50, before: int | None = None) -> list[Facts]:
        """See `Control.gaps`."""
        return self._rows("/memory/gaps", limit=limit, before=before)

    def aside(self) -> list[Facts]:
        """See `Control.aside`."""
        return self._rows("/aside")

    def aside_text(self, number: int, *, limit: int = 50, after: int = 0, worst: bool = False) -> Facts:
        """See `Control.aside_text`."""
        return self._get(f"/aside/{number}", limit=limit, after=after, worst=int(worst))

    def release_aside(self, number: int) -> Facts:
        """See `Control.release_aside`."""
        return self._post("/aside/release", {"round": number})

    def count_aside(self, number: int, *, source: str | None = None, key: str | None = None) -> Facts:
        """See `Control.count_aside`."""
        return self._post("/aside/count", {"round": number, "source": source, "key": key}, timeout=LONG_ANSWER_S)

    def drop_aside_of(self, number: int, *, source: str | None = None, key: str | None = None) -> Facts:
        """See `Control.drop_aside_of`."""
        return self._post("/aside/drop", {"round": number, "source": source, "key": key}, timeout=LONG_ANSWER_S)

    def drop_aside(self, number: int, *, ids: Sequence[int] = ()) -> Facts:
        """See `Control.drop_aside`."""
        return self._post("/aside/drop", {"round": number, "ids": list(ids)}, timeout=LONG_ANSWER_S)

    def dead_letters(self, *, limit: int = 50, before: int | None = None, text: bool = False) -> list[Facts]:
        """See `Control.dead_letters`."""
        return self._rows("/dead-letters", limit=limit, before=before, text=int(text))

    def dead_letter(self, number: int) -> Facts:
        """See `Control.dead_letter`."""
        return self._get(f"/dead-letters/{number}")

    def replay_dead_letters(self, *, ids: Sequence[int] = ()) -> Facts:
        """See `Control.replay_dead_letters`."""
        return self._post("/dead-letters/replay", {"ids": list(ids)}, timeout=LONG_ANSWER_S)

    def drop_dead_letters(self, *, ids: Sequence[int] = ()) -> Facts:
        """See `Control.drop_dead_letters`."""
        return self._post("/dead-letters/drop", {"ids": list(ids)}, timeout=LONG_ANSWER_S)

    def _get(self, path: str, **query: int) -> Facts:
        return self._facts(self._request("GET", path, params=query))

    def _rows(self, path: str, **query: int | None) -> list[Facts]:
        params = {name: value for name, value in query.items() if value is not None}
        rows = self._request("GET", path, params=params)
        if not isinstance(rows, list):
            raise self._stranger()
        return rows

    def _post(self, path: str, body: Facts, *, timeout: float = ANSWER_S) -> Facts:
        limits = httpx.Timeout(timeout, connect=CONNECT_S)
        return self._facts(self._request("POST", path, json=body, timeout=limits))

    def _facts(self, answer: Any) -> Facts:
        if not isinstance(answer, dict):
            raise self._stranger()
        return answer

    def _stranger(self) -> DaemonUnreachable:
        return DaemonUnreachable(f"What answers at {self._address} is not Riverkeep's admin surface.")

    def _request(self, method: str, path: str, **options: Any) -> Any:
        try:
            response = self._client.request(method, path, **options)
            content = response.json()
        except httpx.HTTPError as error:
            raise DaemonUnreachable(
                f"The daemon's admin surface at {self._address} does not answer ({error}). "
                "Its log says why; if it hangs, restart it."
            ) from error
        except ValueError as error:
            raise self._stranger() from error
        # The probes say no with 503 and the same facts as with 200.
        if response.is_success or path in ("/healthz", "/readyz"):
            return content
        raise self._error(response.status_code, content)

    def _error(self, status: int, content: Any) -> DaemonError:
        details = content.get("error", {}) if isinstance(content, dict) else {}
        message = str(details.get("message", f"The daemon answered {status}."))
        if status == httpx.codes.UNAUTHORIZED:
            message = f"The daemon at {self._address} does not accept the token of `admin.token_file`."
        return NAMED.get(details.get("type", ""), DaemonError)(message)

    def _named(self, key: str | KeyHash) -> Facts:
        if isinstance(key, str) and self._hashed is not None:
            size = len(json.dumps(key, ensure_ascii=False).encode("utf-8", "surrogatepass"))
            key = self._hashed(key) if size > LONGEST_KEY_BYTES else key
        return {"key": key} if isinstance(key, str) else {"key_hash": str(key)}
