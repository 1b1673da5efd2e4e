"""Whoever runs the engines is told of each generation that comes and goes, by a POST."""

import threading
from pathlib import Path
from typing import Any, Final, Literal

import httpx
import structlog

from serving.errors import BrokenGeneration
from serving.outbound import NoAuthorities, Outbound, in_words, shown
from streams.backoff import Backoff

_log = structlog.get_logger(__name__)

Event = Literal["generation_ready", "generation_retired"]
ANSWER_S: Final = 30.0
TRIES: Final = 4
WAITS: Final = Backoff(0.5, 8.0)


def bearer(key_file: Path | None) -> dict[str, str]:
    """The header that a key file's token is sent in; none where there is no file.

    Raises:
        BrokenGeneration: the file cannot be read.
    """
    if key_file is None:
        return {}
    try:
        return {"authorization": f"Bearer {key_file.read_text(encoding='utf-8').strip()}"}
    except (OSError, UnicodeDecodeError) as error:
        raise BrokenGeneration(f"serving.remote.key_file {key_file} cannot be read: {error}") from error


class Webhook:
    """An address that is told, again where it does not answer: whoever hears it hears an event perhaps twice.

    Args:
        url: of it; empty: nobody is told.
        key_file: with the token that it asks for.
        ending: set where nobody waits any more.
    """

    def __init__(self, url: str, key_file: Path | None, ending: threading.Event) -> None:
        self._url, self._key_file, self._ending = url, key_file, ending

    def tell(self, event: Event, **facts: Any) -> None:
        """Tell, and wait until it is heard.

        Raises:
            BrokenGeneration: it is not.
        """
        if not self._url:
            return
        for tried in range(1, TRIES + 1):
            why = self._post({"event": event, **facts})
            if not why:
                _log.info("webhook_told", event_told=event, url=shown(self._url), **facts)
                return
            if tried == TRIES or self._ending.wait(WAITS.wait(tried)):
                break
        raise BrokenGeneration(f"serving.remote.webhook ({shown(self._url)}) did not take {event}: {why}")

    def _post(self, body: dict[str, Any]) -> str:
        """Why it was not taken; empty where it was."""
        try:
            options = Outbound.to(self._url).options()
            answer = httpx.post(self._url, json=body, headers=bearer(self._key_file), timeout=ANSWER_S, **options)
        except NoAuthorities as error:
            return str(error)
        except httpx.HTTPError as error:
            return f"{in_words(error, self._url)}: {error}"
        return "" if answer.is_success else f"it answered {answer.status_code}: {answer.text[:200]}"
