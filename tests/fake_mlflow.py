"""A fake of MLflow's tracking server, as strict as it in what is sent to it here. The real one: `make test-mlflow`."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

NAME = re.compile(r"[/\w.\- :]{1,250}", re.ASCII)
FIELDS = {
    "experiments/create": {"name"},
    "runs/create": {"experiment_id", "run_name", "start_time", "tags"},
    "runs/log-batch": {"run_id", "params", "metrics"},
    "runs/update": {"run_id", "status", "end_time"},
    "runs/search": {"experiment_ids", "run_view_type", "max_results", "page_token"},
    "runs/delete": {"run_id"},
}
PAGE = 2
"""Less than is asked for, so that there are several."""


class Refusal(Exception):
    """What MLflow answers with an error."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status


class FakeMlflow:
    """Experiments and runs in memory."""

    def __init__(self) -> None:
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.authorization: str | None = None

    def answer(self, path: str, given: dict[str, Any]) -> dict[str, Any]:
        """Answer one call. Raises Refusal."""
        if path == "experiments/get-by-name":
            name = given["experiment_name"]
            if name not in self.experiments:
                raise Refusal(404, "RESOURCE_DOES_NOT_EXIST")
            return {"experiment": {"experiment_id": self.experiments[name], "lifecycle_stage": "active"}}
        if path not in FIELDS:
            raise Refusal(404, "ENDPOINT_NOT_FOUND")
        if not given.keys() <= FIELDS[path]:
            raise Refusal(400, "INVALID_PARAMETER_VALUE")
        return getattr(self, f"_{re.sub('[/-]', '_', path)}")(given) or {}

    def _experiments_create(self, given: dict[str, Any]) -> dict[str, Any]:
        self.experiments[given["name"]] = str(len(self.experiments) + 1)
        return {"experiment_id": self.experiments[given["name"]]}

    def _runs_create(self, given: dict[str, Any]) -> dict[str, Any]:
        run_id = f"{len(self.runs):032x}"
        info = {"run_id": run_id, "status": "RUNNING", "run_name": given["run_name"], "lifecycle_stage": "active"}
        self.runs[run_id] = {"info": info, "data": {"tags": given["tags"], "params": [], "metrics": []}}
        return {"run": self.runs[run_id]}

    def _runs_log_batch(self, given: dict[str, Any]) -> None:
        params, metrics = given.get("params", []), given.get("metrics", [])
        if len(params) > 100 or len(metrics) > 1000:
            raise Refusal(400, "INVALID_PARAMETER_VALUE")
        for each in (*params, *metrics):
            parts = each["key"].split("/")
            if not NAME.fullmatch(each["key"]) or any(part.strip(".") == "" for part in parts):
                raise Refusal(400, "INVALID_PARAMETER_VALUE")
        data = self.runs[given["run_id"]]["data"]
        data["params"] += params
        data["metrics"] += metrics

    def _runs_update(self, given: dict[str, Any]) -> None:
        self.runs[given["run_id"]]["info"] |= {"status": given["status"], "end_time": given["end_time"]}

    def _runs_delete(self, given: dict[str, Any]) -> None:
        self.runs[given["run_id"]]["info"]["lifecycle_stage"] = "deleted"

    def _runs_search(self, given: dict[str, Any]) -> dict[str, Any]:
        active = [run for run in self.runs.values() if run["info"]["lifecycle_stage"] == "active"]
        start = int(given.get("page_token") or 0)
        more = {"next_page_token": str(start + PAGE)} if start + PAGE < len(active) else {}
        return {"runs": active[start : start + PAGE], **more}


@contextmanager
def serving() -> Iterator[tuple[str, FakeMlflow]]:
    """A fake that listens, and its address."""
    fake = FakeMlflow()

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, given: dict[str, Any]) -> None:
            fake.authorization = self.headers["authorization"]
            try:
                path = urlsplit(self.path).path.removeprefix("/api/2.0/mlflow/")
                status, answer = 200, fake.answer(path, given)
            except Refusal as refusal:
                status, answer = refusal.status, {"error_code": str(refusal), "message": f"{refusal}: as MLflow says"}
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self._answer({name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()})

        def do_POST(self) -> None:
            self._answer(json.loads(self.rfile.read(int(self.headers["content-length"]))))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base has it
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
