"""Rounds as Jobs of Kubernetes: whether the cluster lets the daemon do all that one takes. None is run."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from daemon.doctor.findings import Finding
from daemon.errors import DaemonError, said_by_the_system
from daemon.jobs.cluster import Account, Cluster, ClusterError, account_within
from daemon.jobs.learner_job import DAEMON_CONTAINER, JobMaker
from daemon.jobs.manifest import STATE, manifest
from daemon.settings.jobs.template import BadTemplate, JobTemplate, read_template
from daemon.settings.tree import Settings

GRANT = (
    "Give the account of the daemon's pod the Role of deploy/kubernetes-jobs; the chart has it with `rounds.asJobs`."
)
NOBODY = "of-nobody"
"""A state directory's name that no daemon has."""


def examine_jobs(settings: Settings, account: Account | None = None) -> Iterator[Finding]:
    """Try what a round's Job takes, where rounds are Jobs.

    Args:
        settings: of the service.
        account: by which the cluster is asked; None: of the pod that this process is.
    """
    path = settings.jobs.template_file
    if path is None:
        return
    try:
        template, asking = read_template(path), account or account_within(os.environ)
        with Cluster(asking) as cluster:
            maker = JobMaker(asking, path, NOBODY, settings.jobs.pending_seconds)
            yield _volume(settings.rounds_dir.absolute(), maker, template)
            yield _creation(cluster, maker, template)
            yield from _rights(cluster, maker)
    except (OSError, BadTemplate, DaemonError) as error:
        remedy = error.remedy if isinstance(error, BadTemplate) else GRANT
        yield Finding("rounds as Jobs", ok=False, detail=str(error), remedy=remedy)


def _volume(rounds: Path, maker: JobMaker, template: JobTemplate) -> Finding:
    """Whether the daemon may write where rounds are, and a Job has something mounted there."""
    name, remedy = "volume of rounds", "Mount there what the daemon has there, as deploy/kubernetes-jobs/job.yaml does."
    mounts = [str(each.get("mountPath", "")) for each in template.container.get("volumeMounts") or ()]
    if not any(mount and rounds.is_relative_to(mount) for mount in mounts):
        detail = f"{maker.template_file} mounts nothing at {rounds}, where a learner looks for its round"
        return Finding(name, ok=False, detail=detail, remedy=remedy)
    try:
        rounds.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=rounds, prefix=".doctor-"):
            pass
    except OSError as error:
        detail = f"{rounds}: {said_by_the_system(error)}"
        return Finding(name, ok=False, detail=detail, remedy="Let the daemon's user write the volume, and its group.")
    return Finding(name, ok=True, detail=f"{rounds} can be written here, and is mounted in a Job")


def _creation(cluster: Cluster, maker: JobMaker, template: JobTemplate) -> Finding:
    """Whether a Job would be created, by the cluster's own word; none is."""
    daemon = maker.daemon_pod(cluster)
    made = manifest(template, maker.job(template, "doctor", ["--help"], 1.0, daemon))
    cluster.create_job(made, only_try=True)
    image = made["spec"]["template"]["spec"]["containers"][template.at].get("image", "none")
    devices = ", ".join(f"{count} {name}" for name, count in template.devices.items()) or "no device"
    return Finding(
        "rounds as Jobs", ok=True, detail=f"Kubernetes takes the Job of {maker.template_file}: {devices}, image {image}"
    )


def _rights(cluster: Cluster, maker: JobMaker) -> Iterator[Finding]:
    """Whether the account may do the rest."""
    nobody, pod = {STATE: NOBODY}, maker.account.pod
    tries: dict[str, Callable[[], object]] = {
        "list Jobs": lambda: cluster.jobs(nobody),
        "delete Jobs": lambda: cluster.delete_job(NOBODY),
        "list pods": lambda: cluster.pods(nobody),
        "list events": lambda: cluster.warnings(NOBODY),
    }
    if pod:
        tries["read logs of pods"] = lambda: cluster.log(pod, DAEMON_CONTAINER)
    refused = dict[str, str]()
    for what, attempt in tries.items():
        try:
            attempt()
        except ClusterError as error:
            refused[what] = str(error)
    if refused:
        detail = f"the daemon's account may not {', '.join(refused)}: {next(iter(refused.values()))}"
        yield Finding("rights in the cluster", ok=False, detail=detail, remedy=GRANT)
        return
    yield Finding("rights in the cluster", ok=True, detail=f"the daemon's account may {', '.join(tries)}")
