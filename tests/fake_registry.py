"""A fake schema registry on 127.0.0.1: it answers as Confluent's REST API says, and can go away and come back."""

import base64
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import orjson


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Now."""
        return self.now


@dataclass
class FakeRegistry:
    """Schemas by number, and the versions of subjects that they refer to.

    Attributes:
        login: name and password that it wants; None: it takes anybody.
        status: answered to everything instead; None: the truth.
        asked: the paths that were asked for, in order.
    """

    schemas: dict[int, dict[str, Any]] = field(default_factory=dict)
    subjects: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    login: tuple[str, str] | None = None
    status: int | None = None
    asked: list[str] = field(default_factory=list)
    port: int = 0
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def add(self, number: int, schema: object, kind: str | None = None, references: object = ()) -> None:
        """Register a schema. Avro's kind is not named, as by the real one."""
        answer: dict[str, Any] = {"schema": orjson.dumps(schema).decode()}
        if kind is not None:
            answer["schemaType"] = kind
        if references:
            answer["references"] = references
        self.schemas[number] = answer

    def add_source(self, number: int, source: str, references: Iterable[dict[str, Any]] = ()) -> None:
        """Register a Protobuf schema, which is no JSON."""
        self.schemas[number] = {"schema": source, "schemaType": "PROTOBUF", "references": list(references)}

    def refer(self, subject: str, source: str, references: Iterable[dict[str, Any]] = ()) -> None:
        """Have a Protobuf schema for others to refer to, as version 1 of a subject."""
        self.subjects[subject, "1"] = {"schema": source, "schemaType": "PROTOBUF", "references": list(references)}

    def register(self, subject: str, schema: dict[str, Any]) -> dict[str, Any]:
        """Keep what a producer registers, as it is; the same schema keeps its number."""
        same = (number for number, each in self.schemas.items() if each["schema"] == schema["schema"])
        number = next(same, max(self.schemas, default=0) + 1)
        self.schemas[number] = schema
        self.subjects[subject, "1"] = schema
        return {"id": number, "subject": subject, "version": 1, "guid": str(uuid.UUID(int=number)), **schema}

    def answer(self, path: str, authorization: str | None) -> tuple[int, object]:
        """Status and body."""
        self.asked.append(path)
        if self.status is not None:
            return self.status, {"error_code": self.status, "message": "as the test wants it"}
        if self.login is not None:
            wanted = base64.b64encode(":".join(self.login).encode()).decode()
            if authorization != f"Basic {wanted}":
                return 401, {"error_code": 40101, "message": "Unauthorized"}
        parts = [unquote(part) for part in path.partition("?")[0].split("/")[1:]]
        if parts == ["schemas", "types"]:
            return 200, ["JSON", "PROTOBUF", "AVRO"]
        if parts[:2] == ["schemas", "ids"]:
            found: Mapping[str, Any] | None = self.schemas.get(int(parts[2]))
            return (200, found) if found else (404, {"error_code": 40403, "message": "Schema not found"})
        if parts[0] == "subjects" and parts[2] == "versions":
            found = self.subjects.get((parts[1], parts[3]))
            return (200, found) if found else (404, {"error_code": 40401, "message": "Subject not found"})
        return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}

    def start(self) -> None:
        """Listen, at the same port as before."""
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:  # the name that it looks for
                self._answer(*registry.answer(self.path, self.headers.get("authorization")))

            def _answer(self, status: int, answer: object) -> None:
                body = orjson.dumps(answer)
                self.send_response(status)
                self.send_header("content-type", "application/vnd.schemaregistry.v1+json")
                self.send_header("content-length", str(len(body)))
                self.send_header("connection", "close")
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:  # the name that it looks for
                schema = orjson.loads(self.rfile.read(int(self.headers["content-length"])))
                self._answer(200, registry.register(unquote(self.path.partition("?")[0].split("/")[2]), schema))

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@contextmanager
def fake_registry() -> Iterator[FakeRegistry]:
    """One that listens."""
    registry = FakeRegistry()
    registry.start()
    try:
        yield registry
    finally:
        registry.stop()


def framed(number: int, body: bytes) -> bytes:
    """A value as the registry's clients write it."""
    return b"\0" + number.to_bytes(4, "big") + body
