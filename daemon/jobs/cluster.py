"""The cluster's API as the daemon's pod may use it: few calls, and errors that say what to grant.

It is asked again and again rather than watched: what is true now needs no memory of what was missed while a connection
was broken, and a Job is looked at every few seconds.
"""

import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx

from daemon.errors import DaemonError

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where Kubernetes puts a pod's token (which it renews), the cluster's certificate, and the namespace."""
TIMEOUT: Final = httpx.Timeout(10.0, connect=5.0)
LOG_BYTES_MAX: Final = 1 << 20
LOG_LINES: Final = 2000
MANY: Final = 500
"""Objects that one list may have: Jobs that have ended are removed within the hour."""
PASSING: Final = frozenset({401, 408, 409, 425, 429, 500, 502, 503, 504})
"""Answers of a server that has trouble of its own, or of a token that is being renewed."""
MESSAGE_LENGTH: Final = 600
VERBS: Final = {"POST": "create", "GET": "get and list", "DELETE": "delete"}


class NoCluster(DaemonError):
    """This process is no pod, or has no account that the API would know."""


class ClusterError(DaemonError):
    """The API did not do what was asked; the message says why, and what to do.

    Attributes:
        status: it answered; None where no answer came.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status

    @property
    def is_passing(self) -> bool:
        """Whether the same may be answered in a while."""
        return self.status is None or self.status in PASSING


@dataclass(frozen=True, slots=True)
class Account:
    """Who asks, and where.

    Attributes:
        address: of the API, a URL.
        files: the directory with `token`, `ca.crt` and `namespace`.
        namespace: of the pod.
        pod: the pod's name; empty where it is not known.
    """

    address: str
    files: Path
    namespace: str
    pod: str

    @property
    def token(self) -> str:
        """Read each time: it is another one within the hour.

        Raises:
            ClusterError: it cannot be read now.
        """
        try:
            return (self.files / "token").read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ClusterError(f"The pod's token cannot be read: {error}") from error


def account_within(environment: Mapping[str, str], files: Path = ACCOUNT) -> Account:
    """The account that Kubernetes gives each pod whose service account's token is mounted.

    Raises:
        NoCluster: there is none.
    """
    host, port = environment.get("KUBERNETES_SERVICE_HOST"), environment.get("KUBERNETES_SERVICE_PORT", "443")
    asked = "jobs.template_file asks for Jobs of Kubernetes"
    if not host:
        raise NoCluster(f"{asked}, and this is no pod: KUBERNETES_SERVICE_HOST is not set. Leave it out elsewhere.")
    try:
        namespace = (files / "namespace").read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise NoCluster(
            f"{asked}, and there is no token of a service account in {files}: set automountServiceAccountToken to true "
            "in the daemon's pod, and give its account the Role of deploy/kubernetes-jobs."
        ) from None
    bracketed = f"[{host}]" if ":" in host else host
    return Account(f"https://{bracketed}:{port}", files, namespace, environment.get("HOSTNAME", ""))


class Cluster:
    """A connection to the API, closed with the block.

    Every method raises `ClusterError`. Each blocks for at most some ten seconds.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        try:
            trusted = ssl.create_default_context(cafile=str(account.files / "ca.crt"))
        except (OSError, ssl.SSLError) as error:
            raise ClusterError(f"The cluster's certificate cannot be read: {error}") from error
        # Python 3.13 asks of authorities what many a cluster's own lacks, an AuthorityKeyIdentifier.
        trusted.verify_flags &= ~ssl.VERIFY_X509_STRICT
        # No proxy: what the environment says of one is meant for what lies outside.
        self._client = httpx.Client(base_url=account.address, verify=trusted, timeout=TIMEOUT, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def create_job(self, job: Mapping[str, Any], *, only_try: bool = False) -> Mapping[str, Any]:
        """Create a Job; with `only_try` everything is looked at and nothing is kept."""
        return self._ask("POST", self._jobs, json=job, params={"dryRun": "All"} if only_try else {})

    def job(self, name: str) -> Mapping[str, Any] | None:
        """A Job; None where there is none of that name."""
        return self._find(f"{self._jobs}/{name}")

    def jobs(self, labels: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
        """The Jobs with these labels."""
        return self._list(self._jobs, {"labelSelector": _selector(labels)})

    def delete_job(self, name: str) -> None:
        """Let a Job end, and go when its pods are gone; nothing where there is none."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Foreground"}
        try:
            self._ask("DELETE", f"{self._jobs}/{name}", json=body)
        except ClusterError as error:
            if error.status != httpx.codes.NOT_FOUND:
                raise

    def pods(self, labels: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
        """The pods with these labels."""
        return self._list(f"{self._namespace}/pods", {"labelSelector": _selector(labels)})

    def pod(self, name: str) -> Mapping[str, Any] | None:
        """A pod; None where there is none of that name."""
        return self._find(f"{self._namespace}/pods/{name}")

    def log(self, pod: str, container: str) -> bytes:
        """The end of what a container wrote to standard output and standard error; at most a mebibyte of it."""
        params = {"container": container, "tailLines": str(LOG_LINES)}
        path, kept = f"{self._namespace}/pods/{pod}/log", bytearray()
        try:
            with self._client.stream("GET", path, params=params, headers=self._headers()) as answer:
                if answer.is_error:
                    answer.read()
                    raise self._refusal("GET", answer)
                for part in answer.iter_bytes():
                    kept += part
                    del kept[:-LOG_BYTES_MAX]
        except httpx.HTTPError as error:
            raise self._no_answer(error) from error
        return bytes(kept)

    def warnings(self, uid: str) -> Sequence[str]:
        """What the cluster warns of about an object, the latest last."""
        fields = {"fieldSelector": f"involvedObject.uid={uid},type=Warning"}
        events = self._list(f"{self._namespace}/events", fields)
        return [str(event.get("message", "")) for event in sorted(events, key=_last_seen)]

    @property
    def _namespace(self) -> str:
        return f"/api/v1/namespaces/{self._account.namespace}"

    @property
    def _jobs(self) -> str:
        return f"/apis/batch/v1/namespaces/{self._account.namespace}/jobs"

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._account.token}"}

    def _find(self, path: str) -> Mapping[str, Any] | None:
        try:
            return self._ask("GET", path)
        except ClusterError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise

    def _list(self, path: str, params: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
        items = self._ask("GET", path, params={**params, "limit": str(MANY)}).get("items")
        return [each for each in items if isinstance(each, dict)] if isinstance(items, list) else []

    def _ask(self, method: str, path: str, **more: Any) -> Mapping[str, Any]:
        try:
            answer = self._client.request(method, path, headers=self._headers(), **more)
        except httpx.HTTPError as error:
            raise self._no_answer(error) from error
        if answer.is_error:
            raise self._refusal(method, answer)
        with suppress(ValueError):
            if isinstance(body := answer.json(), dict):
                return body
        raise ClusterError(f"{self._account.address} answered {method} {path} with no object of Kubernetes")

    def _no_answer(self, error: httpx.HTTPError) -> ClusterError:
        said = str(error) or type(error).__name__
        return ClusterError(f"Kubernetes does not answer at {self._account.address}: {said}")

    def _refusal(self, method: str, answer: httpx.Response) -> ClusterError:
        status, said = answer.status_code, _message(answer)[:MESSAGE_LENGTH]
        if status == httpx.codes.FORBIDDEN:
            remedy = (
                f"The account of the daemon's pod has to be allowed to {VERBS[method]} this, by the Role of "
                "deploy/kubernetes-jobs; or a quota or a policy of the namespace forbids it."
            )
        elif method == "POST" and status in (httpx.codes.UNPROCESSABLE_ENTITY, httpx.codes.BAD_REQUEST):
            remedy = "Correct the file that jobs.template_file names."
        else:
            remedy = ""
        return ClusterError(f"Kubernetes answers {status}: {said.rstrip('.')}. {remedy}".strip(), status)


def _selector(labels: Mapping[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in labels.items())


def _message(answer: httpx.Response) -> str:
    """What the server says in an object of the kind Status; else its text."""
    with suppress(ValueError):
        body = answer.json()
        if isinstance(body, dict) and isinstance(body.get("message"), str):
            return " ".join(body["message"].split())
    return " ".join(answer.text.split()) or answer.reason_phrase


def _last_seen(event: Mapping[str, Any]) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or "")
