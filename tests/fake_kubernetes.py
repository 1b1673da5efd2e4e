"""A fake of Kubernetes' API over TLS on 127.0.0.1: it keeps Jobs and pods, and runs what a Job's container says here.

It answers as the real one: a Job is held to the schema before it is taken, a pod is placed, runs and ends, a Job that
is deleted in the foreground goes when its pods have. What goes wrong, a test asks for.
"""

import json
import os
import signal
import ssl
import subprocess
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import kubernetes_validate
import yaml

from daemon.jobs.cluster import Account
from tests.certificates import Authority

NAMESPACE = "ml"
VERSION = "1.34.0"
DAEMON = "riverkeep-0"
JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
EVENTS = f"/api/v1/namespaces/{NAMESPACE}/events"
FULL = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
Json = dict[str, Any]


class Refusal(Exception):
    """An answer of the kind Status."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason = code, reason


@dataclass
class FakeKubernetes:
    """The cluster.

    Attributes:
        files: where a pod's account would be mounted.
        token: that is taken.
        makes_pods: whether a Job gets a pod.
        has_node: whether a pod that is made finds a node.
        holds_pods: whether pods stay, as on a node that is gone, whatever is asked.
        refusals: answered to the next requests whose method and path begin so, each a number of times.
        drops: how many of the next requests get no answer, though what they ask for is done.
        asked: methods and paths, in order.
        allowed: what the daemon's account may do, by the Role that is deployed: resource and verb.
        used: what of that it did.
    """

    files: Path
    token: str = "first"
    makes_pods: bool = True
    has_node: bool = True
    holds_pods: bool = False
    refusals: dict[str, tuple[Refusal, int]] = field(default_factory=dict)
    drops: dict[str, int] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    allowed: frozenset[tuple[str, str]] = frozenset()
    used: set[tuple[str, str]] = field(default_factory=set)
    jobs: dict[str, Json] = field(default_factory=dict)
    pods: dict[str, Json] = field(default_factory=dict)
    events: list[Json] = field(default_factory=list)
    port: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)
    _processes: "dict[str, subprocess.Popen[bytes]]" = field(default_factory=dict)
    _threads: list[threading.Thread] = field(default_factory=list)

    @property
    def account(self) -> Account:
        """By which the daemon asks."""
        return Account(f"https://127.0.0.1:{self.port}", self.files, NAMESPACE, DAEMON)

    def forget(self) -> None:
        """Begin anew: everything is ended, and nothing goes wrong."""
        self.holds_pods, self.has_node, self.makes_pods = False, True, True
        for pod in list(self._processes):
            self._kill(pod)
        for thread in self._threads:
            thread.join()
        for each in (
            self.refusals,
            self.drops,
            self.asked,
            self.used,
            self.jobs,
            self.pods,
            self.events,
            self._processes,
        ):
            each.clear()
        self._threads.clear()
        self.renew("first")
        self.pods[DAEMON] = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": self._metadata(DAEMON, {"app.kubernetes.io/name": "riverkeep"}),
            "spec": {"containers": [{"name": "riverkeep", "image": "registry/riverkeep:1"}]},
            "status": {"phase": "Running"},
        }

    def renew(self, token: str) -> None:
        """Another token is taken from now on, which is in its file."""
        self.token = token
        (self.files / "token").write_text(token)

    def refuse(self, what: str, code: int, reason: str, message: str, times: int = 1_000_000) -> None:
        """Answer so to requests that begin like this."""
        self.refusals[what] = (Refusal(code, reason, message), times)

    # What befalls pods.

    def learner_pods(self) -> list[Json]:
        """All but the daemon's."""
        with self.lock:
            return [pod for name, pod in self.pods.items() if name != DAEMON]

    def find_node(self) -> None:
        """Place what has waited for a node."""
        self.has_node = True
        for pod in self.learner_pods():
            if "nodeName" not in pod["spec"]:
                self._start(pod)

    def kill_for_memory(self) -> None:
        """As the kernel does at the limit of the container's memory."""
        self._end_all("OOMKilled", {})

    def kill(self) -> None:
        """As who kills by hand."""
        self._end_all("Error", {})

    def evict(self) -> None:
        """As the kubelet does where its node lacks something."""
        message = "The node was low on resource: ephemeral-storage."
        self._end_all("Error", {"reason": "Evicted", "message": message, "phase": "Failed"})

    def preempt(self) -> None:
        """As the scheduler does for a pod of a higher priority."""
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": "default-scheduler: preempting to accommodate a higher priority pod",
        }
        with self.lock:
            for pod in self.learner_pods():
                pod["status"].setdefault("conditions", []).append(condition)
                pod["metadata"]["deletionTimestamp"] = _now()
                # Until whoever counts the Job's pods has seen it.
                pod["stays"] = True
                self._kill(pod["metadata"]["name"])

    def warn(self, about: str, message: str) -> None:
        """An event of the type Warning about an object."""
        self.events.append(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": self._metadata(f"event-{len(self.events)}", {}),
                "involvedObject": {"uid": about},
                "type": "Warning",
                "message": message,
                "lastTimestamp": _now(),
            }
        )

    # What the API answers.

    def let_in(self, authorization: str | None) -> None:
        """Look at who asks.

        Raises:
            Refusal: the token is another one.
        """
        if authorization != f"Bearer {self.token}":
            raise Refusal(401, "Unauthorized", "Unauthorized")

    def answer(self, method: str, path: str, query: Mapping[str, str], body: Json) -> tuple[int, Any]:
        """Status and body.

        Raises:
            Refusal: as asked for, or as the real one would.
        """
        with self.lock:
            self.asked.append(f"{method} {path}")
            self._require_right(right_of(method, path))
            for what, (refusal, times) in list(self.refusals.items()):
                if f"{method} {path}".startswith(what) and times > 0:
                    self.refusals[what] = (refusal, times - 1)
                    raise refusal
            if method == "POST" and path == JOBS:
                return 201, self._create(body, only_try=query.get("dryRun") == "All")
            if method == "DELETE" and path.startswith(f"{JOBS}/"):
                return 200, self._delete(path.removeprefix(f"{JOBS}/"), body)
            return 200, self._get(path, query)

    def _require_right(self, right: tuple[str, str]) -> None:
        if right not in self.allowed:
            resource, verb = right
            raise Refusal(403, "Forbidden", f'User "x" cannot {verb} resource "{resource}"')
        self.used.add(right)

    def _get(self, path: str, query: Mapping[str, str]) -> Any:
        for root, kind, things in ((JOBS, "Job", self.jobs), (PODS, "Pod", self.pods)):
            if path == root:
                wanted = [pair.partition("=")[::2] for pair in query["labelSelector"].split(",")]
                found = [
                    thing
                    for thing in things.values()
                    if all(thing["metadata"]["labels"].get(name) == value for name, value in wanted)
                ]
                return {"kind": f"{kind}List", "apiVersion": "v1", "metadata": {}, "items": found}
        if path == EVENTS:
            uid = query["fieldSelector"].partition("involvedObject.uid=")[2].partition(",")[0]
            items = [event for event in self.events if event["involvedObject"]["uid"] == uid]
            return {"kind": "EventList", "apiVersion": "v1", "metadata": {}, "items": items}
        root, _, name = path.partition(f"{NAMESPACE}/")[2].partition("/")
        name, _, log = name.partition("/")
        things = self.jobs if root == "jobs" else self.pods
        if name not in things:
            raise Refusal(404, "NotFound", f'{root} "{name}" not found')
        if log and not self._log_path(name).exists():
            raise Refusal(400, "BadRequest", f'container "learner" in pod "{name}" is waiting to start')
        return self._log_path(name).read_bytes() if log else things[name]

    def _create(self, job: Json, *, only_try: bool) -> Json:
        try:
            kubernetes_validate.validate(job, VERSION, strict=True)
        except kubernetes_validate.ValidationError as error:
            raise Refusal(422, "Invalid", f"Job.batch is invalid: {error.message}") from None
        name = job["metadata"]["name"]
        if any("image" not in each for each in job["spec"]["template"]["spec"]["containers"]):
            raise Refusal(422, "Invalid", f'Job.batch "{name}" is invalid: containers[0].image: Required value')
        if name in self.jobs:
            raise Refusal(409, "AlreadyExists", f'jobs.batch "{name}" already exists')
        made = job | {"metadata": job["metadata"] | self._metadata(name, job["metadata"]["labels"]), "status": {}}
        if only_try:
            return made
        self.jobs[name] = made
        if self.makes_pods and not made["spec"].get("suspend"):
            self._make_pod(made)
        return made

    def _make_pod(self, job: Json) -> None:
        template, name = job["spec"]["template"], f"{job['metadata']['name']}-{uuid.uuid4().hex[:5]}"
        labels = template["metadata"]["labels"] | {"batch.kubernetes.io/job-name": job["metadata"]["name"]}
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": template["metadata"] | self._metadata(name, labels),
            "spec": json.loads(json.dumps(template["spec"])),
            "status": {"phase": "Pending"},
        }
        self.pods[name] = pod
        if self.has_node:
            self._start(pod)
        else:
            unplaced = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": FULL}
            pod["status"]["conditions"] = [unplaced]

    def _start(self, pod: Json) -> None:
        (container,), name = pod["spec"]["containers"], pod["metadata"]["name"]
        pod["spec"]["nodeName"] = "node-1"
        with self._log_path(name).open("wb") as log:
            self._processes[name] = subprocess.Popen(
                [*container["command"], *container["args"]],
                env={"PATH": os.environ["PATH"], **{each["name"]: each["value"] for each in container.get("env", [])}},
                cwd=Path(__file__).parents[1],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._set_state(pod, "Running", {"running": {"startedAt": _now()}})
        thread = threading.Thread(target=self._await_end, args=(pod, self._processes[name]))
        self._threads.append(thread)
        thread.start()

    def _await_end(self, pod: Json, process: "subprocess.Popen[bytes]") -> None:
        code = process.wait()
        name = pod["metadata"]["name"]
        with self.lock:
            self._processes.pop(name, None)
            if self.holds_pods:
                return
            code = code if code >= 0 else 128 - code
            reason = pod.pop("ends", "Completed" if code == 0 else "Error")
            said = self._log_path(name).read_bytes()[-2048:].decode(errors="replace") if code else ""
            ended = {"exitCode": code, "reason": reason, "message": said}
            self._set_state(pod, "Succeeded" if code == 0 else "Failed", {"terminated": ended})
            pod["status"] |= pod.pop("fate", {})
            job = self.jobs.get(pod["metadata"]["labels"]["batch.kubernetes.io/job-name"])
            if "deletionTimestamp" in pod["metadata"] and not pod.pop("stays", False):
                del self.pods[name]
            if job is None:
                return
            if "deletionTimestamp" in job["metadata"]:
                self.jobs.pop(job["metadata"]["name"], None)
            how = ("Complete", "CompletionsReached") if code == 0 else ("Failed", "BackoffLimitExceeded")
            job["status"]["conditions"] = [{"type": how[0], "status": "True", "reason": how[1]}]

    def _delete(self, name: str, options: Json) -> Json:
        if name not in self.jobs:
            raise Refusal(404, "NotFound", f'jobs.batch "{name}" not found')
        assert options["propagationPolicy"] == "Foreground", "else its pods would outlive it"
        job = self.jobs[name]
        job["metadata"]["deletionTimestamp"] = _now()
        pods = [pod for pod in self.learner_pods() if pod["metadata"]["labels"]["riverkeep/run"] == name]
        for pod in pods:
            pod["metadata"]["deletionTimestamp"] = _now()
            if pod["metadata"]["name"] in self._processes:
                self._kill(pod["metadata"]["name"])
            elif not self.holds_pods:
                self.pods.pop(pod["metadata"]["name"], None)
        if not any(pod["metadata"]["name"] in self.pods for pod in pods):
            self.jobs.pop(name, None)
        return job

    def _end_all(self, reason: str, fate: Json) -> None:
        with self.lock:
            for pod in self.learner_pods():
                if pod["metadata"]["name"] in self._processes:
                    pod |= {"ends": reason, "fate": fate}
                    self._kill(pod["metadata"]["name"])

    def _kill(self, pod: str) -> None:
        process = self._processes.get(pod)
        if process is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)

    def _set_state(self, pod: Json, phase: str, state: Json) -> None:
        (container,) = pod["spec"]["containers"]
        status = {"name": container["name"], "state": state, "resources": container.get("resources", {})}
        status |= {"ready": False, "restartCount": 0, "image": container["image"], "imageID": ""}
        pod["status"] |= {"phase": phase, "containerStatuses": [status]}

    def _metadata(self, name: str, labels: Mapping[str, str]) -> Json:
        uid, labels = str(uuid.uuid4()), dict(labels)
        return {"name": name, "namespace": NAMESPACE, "uid": uid, "creationTimestamp": _now(), "labels": labels}

    def _log_path(self, pod: str) -> Path:
        return self.files / f"{pod}.log"


def right_of(method: str, path: str) -> tuple[str, str]:
    """What a request takes: a resource and a verb."""
    resource, _, name = path.partition(f"/namespaces/{NAMESPACE}/")[2].partition("/")
    if name.endswith("/log"):
        resource = f"{resource}/log"
    return resource, {"POST": "create", "DELETE": "delete"}.get(method, "get" if name else "list")


def rights() -> frozenset[tuple[str, str]]:
    """Those of the Role that is deployed."""
    role, _ = yaml.safe_load_all((Path(__file__).parents[1] / "deploy/kubernetes-jobs/rights.yaml").read_text())
    return frozenset(
        (resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@contextmanager
def kubernetes(directory: Path) -> Iterator[FakeKubernetes]:
    """A cluster that answers.

    Args:
        directory: for what a pod would have mounted, and for logs; must exist.
    """
    authority = Authority(directory)
    pair = authority.pair("api")
    (directory / "ca.crt").write_bytes(authority.own.certificate.read_bytes())
    (directory / "namespace").write_text(NAMESPACE)
    fake = FakeKubernetes(directory, allowed=rights())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(fake))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    fake.port = server.server_address[1]
    fake.forget()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield fake
    finally:
        fake.forget()
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(fake: FakeKubernetes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self._answer("GET")

        def do_POST(self) -> None:
            self._answer("POST")

        def do_DELETE(self) -> None:
            self._answer("DELETE")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base has it
            """Say nothing."""

        def _answer(self, method: str) -> None:
            asked = urlsplit(self.path)
            query = {name: values[-1] for name, values in parse_qs(asked.query).items()}
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            try:
                fake.let_in(self.headers["Authorization"])
                code, answer = fake.answer(method, asked.path, query, body)
            except Refusal as refusal:
                code = refusal.code
                answer = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code}
                answer |= {"reason": refusal.reason, "message": str(refusal)}
            what = f"{method} {asked.path}"
            for begins, times in list(fake.drops.items()):
                if what.startswith(begins) and times > 0:
                    fake.drops[begins] = times - 1
                    self.close_connection = True
                    return
            with fake.lock:
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(code)
            self.send_header("Content-Type", "text/plain" if isinstance(answer, bytes) else "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler
