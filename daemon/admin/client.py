"""`Control` over the admin surface of a running daemon; what can be asked follows from the table of operations."""

import json
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self

import httpx

from daemon import errors
from daemon.control.arguments import NamedPerson
from daemon.control.asker import HEADER, local_user
from daemon.control.operations import BY_NAME, Operation
from daemon.errors import DaemonError, DaemonUnreachable
from memory.samples.records import KeyHash
from serving.door.certificates import TlsFiles, client_context
from serving.errors import CannotServe

CONNECT_S = 3.0
LONGEST_KEY_BYTES = 512 * 1024
"""As JSON, in a request; the daemon takes a little more."""

NAMED: Mapping[str, type[DaemonError]] = {
    kind.__name__: kind for kind in (errors.UnknownThing, errors.Refused, errors.BadRequest, errors.Busy)
}
"""Errors that come through as themselves, so that the exit status is the same with and without a daemon."""


class RemoteControl:
    """Asks the daemon: a `Control`, each method of which raises what the daemon's raised, or DaemonUnreachable.

    Args:
        address: `http://host:port`.
        token: the bearer token.
        hashed: the daemon's hash of a key; needed for keys that are longer than a request.
        tls: the surface's files, where it speaks TLS.

    Raises:
        DaemonUnreachable: the files cannot be used.
    """

    def __init__(
        self,
        address: str,
        token: str,
        hashed: Callable[[str], KeyHash] | None = None,
        *,
        tls: TlsFiles | None = None,
    ) -> None:
        self._address = address
        self._hashed = hashed
        self._client = httpx.Client(
            base_url=address,
            # As bytes: httpx encodes texts as ASCII, and the name of a user may have other letters.
            headers={b"authorization": f"Bearer {token}".encode(), HEADER.encode(): local_user().encode()},
            # The daemon is on this machine or named by its operator; a proxy of the environment is not meant.
            trust_env=False,
            verify=_trusts(address, tls),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """The operation of that name, as the method of `Control`."""
        if name not in BY_NAME:
            raise AttributeError(f"{type(self).__name__} has no operation {name}")
        return partial(self._ask, BY_NAME[name])

    def _ask(self, operation: Operation, /, *in_order: Any, **by_name: Any) -> Any:
        call = operation.call(*in_order, **by_name)
        path = operation.path.format_map(call)
        if issubclass(operation.arguments, NamedPerson):
            call["key"] = self._short(call["key"])
        fields = operation.arguments.sent(call)
        rest = {name: value for name, value in fields.items() if f"{{{name}}}" not in operation.path}
        answer = self._request(operation, path, **(_query(rest) if operation.method == "GET" else {"json": rest}))
        if not isinstance(answer, list if operation.answers_rows else dict):
            raise self._stranger()
        return answer

    def _short(self, key: str | KeyHash) -> str | KeyHash:
        """A person's key; one that is longer than a request by its hash."""
        if not isinstance(key, str) or self._hashed is None:
            return key
        size = len(json.dumps(key, ensure_ascii=False).encode("utf-8", "surrogatepass"))
        return self._hashed(key) if size > LONGEST_KEY_BYTES else key

    def _stranger(self) -> DaemonUnreachable:
        return DaemonUnreachable(f"What answers at {self._address} is not Riverkeep's admin surface.")

    def _request(self, operation: Operation, path: str, **options: Any) -> Any:
        limits = httpx.Timeout(operation.within_s, connect=CONNECT_S)
        try:
            response = self._client.request(operation.method, path, timeout=limits, **options)
            content = response.json()
        except httpx.HTTPError as error:
            raise DaemonUnreachable(
                f"The daemon's admin surface at {self._address} does not answer ({error}). "
                "Its log says why; if it hangs, restart it."
            ) from error
        except ValueError as error:
            raise self._stranger() from error
        # The probes say no with 503 and the same facts as with 200.
        if response.is_success or operation.probe:
            return content
        raise self._error(response.status_code, content)

    def _error(self, status: int, content: Any) -> DaemonError:
        details = content.get("error", {}) if isinstance(content, dict) else {}
        message = str(details.get("message", f"The daemon answered {status}."))
        if status == httpx.codes.UNAUTHORIZED:
            message = f"The daemon at {self._address} does not accept the token of `admin.token_file`."
        return NAMED.get(details.get("type", ""), DaemonError)(message)


def _trusts(address: str, tls: TlsFiles | None) -> ssl.SSLContext:
    if tls is None or not address.startswith("https:"):
        # Nobody at all; of plain HTTP no matter, and to read those trusted by default would take 30 ms.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        return client_context(tls)
    except CannotServe as error:
        raise DaemonUnreachable(f"The daemon at {address} speaks TLS, and {error}.") from error


def _query(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a request: a query knows numbers alone."""
    return {"params": {name: int(value) for name, value in fields.items() if value is not None}}
