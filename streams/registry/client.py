"""The schema registry: asked once for each schema, and waited for while it does not answer."""

import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import quote

import httpx
import orjson
import structlog

from streams.backoff import Backoff
from streams.closing import Closing
from streams.decoding import framing
from streams.document import Reason
from streams.errors import BadSecret, NotNow, RegistryAway
from streams.registry import schemas
from streams.registry_settings import SchemaRegistrySettings
from streams.secret_files import secret
from streams.settings import MIB

ACCEPTED: Final = "application/vnd.schemaregistry.v1+json, application/json"
NOT_THERE: Final = frozenset({40401, 40402, 40403})
"""What a registry says where it has no such subject, version or schema; another 404 is none of its own."""
BACKOFF: Final = Backoff(1.0, 15.0)
NOT_THERE_SECONDS: Final = 10.0
"""For so long a schema that is not there is not asked for again: a bad producer names it in each record."""
REFERRING: Final = frozenset({"AVRO", "PROTOBUF"})
"""Kinds of schemas that are not read without those that they refer to."""
MOST_SCHEMAS: Final = 1000
MOST_REFERENCES: Final = 200
# Whatever stands behind the url, an answer and the schemas kept of it stay within memory.
ANSWER_BYTES: Final = 8 * MIB
NO_REGISTRY: Final = "it does not answer as a schema registry does: check the url and its path"
INSTALLS: Final = "in Riverkeep's checkout run `pip install '.[registry]'`"

log = structlog.get_logger(__name__)


class SchemaRegistry(Closing):
    """Reads framed values by the schemas of a registry that speaks Confluent's REST API.

    A schema never changes: each is asked for once. Used by one thread.

    Args:
        settings: with a url.
        monotonic: seconds, of a clock that never goes back.
        logs: whether the log tells that it is away, and that it is back.

    Attributes:
        trouble: why no schema comes, and what to do; empty while all is well.
    """

    def __init__(
        self,
        settings: SchemaRegistrySettings,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        logs: bool = True,
    ) -> None:
        self._settings = settings
        self._logs = logs
        self._url = settings.url or ""
        self._monotonic = monotonic
        self._client: httpx.Client | None = None
        self._readers: OrderedDict[int, schemas.Body] = OrderedDict()
        self._kinds: OrderedDict[int, str] = OrderedDict()
        self._not_there: OrderedDict[int, float] = OrderedDict()
        self._references: dict[str, Any] = {}
        self._failures = 0
        self._retry_at = self._until = float("-inf")
        self.trouble = ""

    @property
    def rests(self) -> bool:
        """Whether it is not asked now, as it has just failed."""
        return self._monotonic() < self._retry_at

    def read(self, value: bytes) -> Any:
        """What a framed value holds; a tuple is the `Rejection`.

        Raises:
            RegistryAway: its schema is not known yet, and cannot be asked for now.
        """
        number = framing.schema_id(value)
        if number is None:
            raise ValueError("the value is not framed")
        body = self._readers.get(number) or self._ask_for(number)
        if body is None:
            # No registry numbers a schema 0, but a number of 8 bytes begins with four zeros.
            why = framing.told_of_long_id(value) if number == 0 else "see which registry its producer uses"
            detail = f"schema {number} is not in the registry at {self._url}: {why}"
            return Reason.UNKNOWN_SCHEMA, detail
        return body(value[framing.HEAD_BYTES :])

    def kind_of(self, number: int) -> str:
        """The kind of a schema, in the registry's word; empty for one that was not asked for yet. Asks nobody."""
        return self._kinds.get(number, "")

    def check(self) -> None:
        """Ask for something that every registry has.

        Raises:
            RegistryAway: it does not answer as a registry does.
        """
        self._until = self._monotonic() + self._settings.timeout_seconds
        kinds = self._get("/schemas/types")
        if not isinstance(kinds, list):
            raise self._note_failure(NO_REGISTRY)

    def close(self) -> None:
        """Close its connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _ask_for(self, number: int) -> schemas.Body | None:
        now = self._monotonic()
        if now < self._not_there.get(number, now):
            return None
        if now < self._retry_at:
            raise RegistryAway(self.trouble)
        # One deadline for a schema with all that it refers to, however many questions that takes.
        self._until = now + self._settings.timeout_seconds
        answer = self._get(f"/schemas/ids/{number}")
        if answer is None:
            # Not for ever: a producer may register its schema a moment after its first record.
            self._not_there[number] = self._monotonic() + NOT_THERE_SECONDS
            _bound(self._not_there)
            self._note_answer()
            return None
        self._readers[number] = self._reader(number, answer)
        self._kinds[number] = _kind(answer)
        _bound(self._readers)
        _bound(self._kinds)
        # Kept only while a schema was being put together: many would hold their texts for nothing.
        self._references.clear()
        self._note_answer()
        return self._readers[number]

    def _reader(self, number: int, answer: Any) -> schemas.Body:
        text, kind = self._schema(answer), _kind(answer)
        try:
            referred_to = dict(self._collect_references(answer, kind, set())) if kind in REFERRING else {}
            return schemas.reader(number, kind, text, referred_to)
        except schemas.NeedsPackage as error:
            raise self._note_failure(
                f"schema {number} is of kind {kind}, and {error} is not installed: {INSTALLS}"
            ) from error
        except NotNow as error:
            raise self._note_failure(f"schema {number} cannot be read by now: {error}") from error
        except schemas.Unusable as error:
            why = Reason.SCHEMA_FRAMED, f"schema {number} cannot be used: {error}"
            # Kept like a reader: the schema never changes, so that asking for it again would bring the same fault.
            return lambda _: why

    def _collect_references(self, answer: Any, kind: str, names: set[str]) -> Iterator[tuple[str, str]]:
        """The schemas that one refers to, each after those that it refers to itself, and by which name."""
        references = answer.get("references") or []
        if not isinstance(references, list):
            raise self._note_failure(NO_REGISTRY)
        for reference in references:
            if not isinstance(reference, dict):
                raise self._note_failure(NO_REGISTRY)
            subject, version = str(reference.get("subject")), str(reference.get("version"))
            path = f"/subjects/{quote(subject, safe='')}/versions/{quote(version, safe='')}"
            # To Protobuf a file under another name is another one, to Avro one schema may come but once.
            name = str(reference.get("name")) if kind == "PROTOBUF" else path
            if name in names:
                continue
            # Before it is followed: schemas may refer to each other in a circle.
            names.add(name)
            if len(names) > MOST_REFERENCES:
                raise schemas.Unusable(f"it refers to more than {MOST_REFERENCES} others")
            if path not in self._references:
                # Kept until the schema is whole: what came before a failure is not asked for again.
                self._references[path] = self._get(path)
            if (referred := self._references[path]) is None:
                del self._references[path]
                raise schemas.Unusable(f"it refers to {subject} version {version}, which is not in the registry")
            text = self._schema(referred)
            yield from self._collect_references(referred, kind, names)
            yield name, text

    def _schema(self, answer: Any) -> str:
        text = answer.get("schema") if isinstance(answer, dict) else None
        if not isinstance(text, str):
            raise self._note_failure(NO_REGISTRY)
        return text

    # the wire

    def _get(self, path: str) -> Any:
        """The answer, None where the registry says that there is no such thing."""
        try:
            status, body = self._fetch(path)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, BadSecret) as error:
            words = str(error) or type(error).__name__
            raise self._note_failure(f"{words}: check the url, and that the registry runs") from error
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError:
            answer = None
        if status == httpx.codes.OK and answer is not None:
            return answer
        # A proxy, or a wrong path, answers 404 too: only the registry's own code says that a schema is not there.
        if status == httpx.codes.NOT_FOUND and isinstance(answer, dict) and answer.get("error_code") in NOT_THERE:
            return None
        raise self._note_failure(_why_refused(status))

    def _fetch(self, path: str) -> tuple[int, bytes]:
        if self._client is None:
            self._client = _client(self._settings)
        seconds_left = max(0.05, self._until - self._monotonic())
        body = bytearray()
        with self._client.stream("GET", self._url + path, timeout=seconds_left) as response:
            for piece in response.iter_bytes():
                body += piece
                if len(body) > ANSWER_BYTES:
                    raise httpx.ReadError(f"the answer is longer than {ANSWER_BYTES} bytes")
                # httpx bounds each wait for bytes, not all of them: an answer could drip for hours.
                if self._monotonic() > self._until:
                    raise httpx.ReadTimeout(f"no whole answer within {self._settings.timeout_seconds:g} s")
            return response.status_code, bytes(body)

    def _note_answer(self) -> None:
        if self.trouble and self._logs:
            log.info("schema_registry_reached", url=self._url)
        self.trouble, self._failures, self._retry_at = "", 0, float("-inf")

    def _note_failure(self, why: str) -> RegistryAway:
        """Note that it failed. With the next attempt everything is read anew, as a password's file."""
        # A new connection reads the password's and the certificates' files anew: a person may just have mended them.
        self.close()
        trouble = f"the schema registry at {self._url} gives no schemas: {why}"
        if not self.trouble and self._logs:
            log.warning("schema_registry_away", url=self._url, error=why, remedy="its records wait; `riverkeep doctor`")
        self.trouble = trouble
        self._failures += 1
        self._retry_at = self._monotonic() + BACKOFF.wait(self._failures)
        return RegistryAway(trouble)


def of_settings(
    settings: SchemaRegistrySettings, monotonic: Callable[[], float] = time.monotonic, *, logs: bool = True
) -> SchemaRegistry | None:
    """The registry that the settings name; None where they name none."""
    return SchemaRegistry(settings, monotonic, logs=logs) if settings.url else None


def _client(settings: SchemaRegistrySettings) -> httpx.Client:
    headers = {"accept": ACCEPTED}
    if settings.token_file is not None:
        headers["authorization"] = f"Bearer {secret(settings.token_file)}"
    login = None
    if settings.username is not None and settings.password_file is not None:
        login = httpx.BasicAuth(settings.username, secret(settings.password_file))
    context = ssl.create_default_context(cafile=settings.ca_file)
    # As to the broker: no proxy, and no login from a file that nobody thinks of (.netrc).
    return httpx.Client(headers=headers, auth=login, verify=context, trust_env=False)


def _why_refused(status: int) -> str:
    remedies = {
        401: "check username and password_file, or token_file",
        403: "grant this user to read its schemas",
        404: "check the path in the url",
        429: "it is asked too often, by whomever",
    }
    if 300 <= status < 400:
        return f"it sends us elsewhere (HTTP {status}): name the address itself in the url"
    if status == 200:
        return NO_REGISTRY
    return f"it answers HTTP {status}: {remedies.get(status, 'see its own log')}"


def _kind(answer: Any) -> str:
    # The registry leaves out what was the only kind once.
    return str(answer.get("schemaType") or "AVRO")


def _bound(cache: OrderedDict[int, Any]) -> None:
    while len(cache) > MOST_SCHEMAS:
        cache.popitem(last=False)
