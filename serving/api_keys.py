"""Whether a request bears one of the API keys, and the keys read again while serving goes on."""

from pathlib import Path

import structlog

from serving.door.bearer import bears, digest_of
from serving.door.key_file import read_keys
from serving.errors import CannotServe

_log = structlog.get_logger(__name__)


class ApiKeys:
    """The API keys of a file, compared in constant time; no file means that nobody needs one.

    Args:
        path: one key a line, as `read_keys` reads them; None for no keys.

    Raises:
        CannotServe: the file is unusable.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._digests = [] if path is None else _digests(path)

    def read_again(self) -> None:
        """Take the keys that the file holds now, for the next request; from a file that is unusable none are taken."""
        if self._path is None:
            return
        try:
            digests = _digests(self._path)
        except CannotServe as error:
            _log.error("api_keys_not_reloaded", reason=str(error), remedy="mend the file and send SIGHUP again")
            return
        changed, self._digests = digests != self._digests, digests
        _log.info("api_keys_reloaded", keys=len(digests), changed=changed)

    @property
    def needed(self) -> bool:
        """Whether there are keys at all."""
        return bool(self._digests)

    def admit(self, authorization: bytes) -> bool:
        """Whether an `Authorization` header opens the door."""
        if not self._digests:
            return True
        return bears(authorization, self._digests)


def _digests(path: Path) -> list[bytes]:
    return [digest_of(key) for key in read_keys(path)]
