"""An MLflow tracking server, by its REST interface: which rounds it knows, and one more told to it.

Its Python client is not used: without a server it keeps to files, which it gave up, or brings a hundred megabytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx

from daemon.errors import BadRequest, DaemonError
from daemon.trackers.tracked_round import TrackedRound

T = TypeVar("T")

ID_TAG: Final = "riverkeep.id"
API: Final = "/api/2.0/mlflow/"
PAGE: Final = 500
MOST_PARAMS, MOST_METRICS = 100, 1000
"""That one call takes."""
LONGEST_TAG: Final = 5000
TIMEOUT_S: Final = 60.0
STATUSES: Final = {"judged": "FINISHED", "failed": "FAILED", "called_off": "KILLED"}


class TrackerFailed(DaemonError):
    """A tracking server is not there, or does not do what it is asked for; the message says which and what it said."""


class MlflowServer:
    """One experiment of a server. A context manager.

    Args:
        url: of the server, as MLFLOW_TRACKING_URI has it.
        experiment: its name; made where it is not there.
        environment: with MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, where the
            server asks who it is.

    Raises:
        BadRequest: the address is none of a server.
    """

    def __init__(self, url: str, experiment: str, environment: Mapping[str, str]) -> None:
        if not url.startswith(("http://", "https://")):
            raise BadRequest(
                "The address of an MLflow server begins with http:// or https://, and this one does not. On files or a "
                "database of MLflow's, start one: `mlflow server --backend-store-uri ...`."
            )
        try:
            # What stands before an @ is a secret: it is sent, and never shown.
            parts = httpx.URL(url).copy_with(userinfo=b"")
        except httpx.InvalidURL as error:
            raise BadRequest(f"The address of the MLflow server makes no sense: {error}.") from None
        if not parts.host:
            raise BadRequest("The address of the MLflow server names no host.")
        self.shown = str(parts).rstrip("/")
        self._url, self.experiment = url.rstrip("/"), experiment
        self._client = httpx.Client(timeout=TIMEOUT_S, follow_redirects=False, **_authorization(environment))
        self._experiment_id: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def known(self) -> set[str]:
        """Ids of the rounds that the experiment has whole. What an earlier call left half done is removed.

        Raises:
            TrackerFailed: it could not be asked.
        """
        whole = set()
        for run in list(self._runs()):
            tags = {tag["key"]: tag["value"] for tag in run.get("data", {}).get("tags", ())}
            if ID_TAG not in tags:
                continue
            if run["info"]["status"] == "RUNNING":
                self._post("runs/delete", {"run_id": run["info"]["run_id"]})
            else:
                whole.add(tags[ID_TAG])
        return whole

    def tell(self, round_: TrackedRound) -> None:
        """Add a round; until it is there whole it stands as running.

        Raises:
            TrackerFailed: it could not be told, or not of all.
        """
        ended = int(round_.ended_at * 1000)
        created = self._post(
            "runs/create",
            {
                "experiment_id": self._id(),
                "run_name": f"round {round_.number}",
                "start_time": int(round_.begun_at * 1000),
                "tags": _pairs({name: value[:LONGEST_TAG] for name, value in round_.tags.items()}),
            },
        )
        run: str = created["run"]["info"]["run_id"]
        for params in _parts(_pairs(round_.params), MOST_PARAMS):
            self._post("runs/log-batch", {"run_id": run, "params": params})
        points = [
            {"key": name, "value": figure, "timestamp": ended, "step": round_.number}
            for name, figure in round_.metrics.items()
        ]
        for metrics in _parts(points, MOST_METRICS):
            self._post("runs/log-batch", {"run_id": run, "metrics": metrics})
        self._post("runs/update", {"run_id": run, "status": STATUSES[round_.ending], "end_time": ended})

    def _runs(self) -> Iterator[Mapping[str, Any]]:
        asked: dict[str, Any] = {"experiment_ids": [self._id()], "run_view_type": "ACTIVE_ONLY", "max_results": PAGE}
        while True:
            page = self._post("runs/search", asked)
            yield from page.get("runs", ())
            if not (token := page.get("next_page_token")):
                return
            asked["page_token"] = token

    def _id(self) -> str:
        if self._experiment_id is None:
            self._experiment_id = self._find() or self._make()
        return self._experiment_id

    def _find(self) -> str | None:
        response = self._send("GET", "experiments/get-by-name", params={"experiment_name": self.experiment})
        if response.status_code == 404 and _error(response).get("error_code") == "RESOURCE_DOES_NOT_EXIST":
            return None
        found = self._read(response)["experiment"]
        if found.get("lifecycle_stage") == "deleted":
            raise TrackerFailed(
                f"Experiment {self.experiment!r} of {self.shown} was deleted: restore it there, or name another one "
                "(--experiment)."
            )
        return str(found["experiment_id"])

    def _make(self) -> str:
        return str(self._post("experiments/create", {"name": self.experiment})["experiment_id"])

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._read(self._send("POST", path, json=body))

    def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        try:
            return self._client.request(method, f"{self._url}{API}{path}", **content)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise TrackerFailed(
                f"The MLflow server {self.shown} cannot be asked: {str(error) or type(error).__name__}."
            ) from error

    def _read(self, response: httpx.Response) -> dict[str, Any]:
        if response.is_success:
            try:
                answer = response.json()
            except ValueError:
                answer = None
            if isinstance(answer, dict):
                return answer
        why = str(_error(response).get("message") or response.text[:200] or "it said nothing")
        raise TrackerFailed(
            f"The MLflow server {self.shown} answered {response.status_code} to {response.request.url.path}: {why}"
        )


def _parts(items: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    return (items[start : start + most] for start in range(0, len(items), most))


def _error(response: httpx.Response) -> Mapping[str, Any]:
    try:
        said = response.json()
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _pairs(values: Mapping[str, str]) -> Sequence[dict[str, str]]:
    return [{"key": name, "value": value} for name, value in values.items()]


def _authorization(environment: Mapping[str, str]) -> dict[str, Any]:
    if token := environment.get("MLFLOW_TRACKING_TOKEN"):
        return {"headers": {"authorization": f"Bearer {token}"}}
    if user := environment.get("MLFLOW_TRACKING_USERNAME"):
        return {"auth": (user, environment.get("MLFLOW_TRACKING_PASSWORD", ""))}
    return {}
