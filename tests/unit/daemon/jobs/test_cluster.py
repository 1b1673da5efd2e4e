"""Who asks the cluster, and what of its answers is told."""

from pathlib import Path

import pytest

from daemon.jobs.cluster import Account, Cluster, ClusterError, NoCluster, account_within
from tests.fake_kubernetes import DAEMON, FakeKubernetes


def test_a_process_that_is_no_pod_is_told_so(tmp_path: Path) -> None:
    """And a pod without a token, what to set."""
    with pytest.raises(NoCluster, match="KUBERNETES_SERVICE_HOST is not set"):
        account_within({}, tmp_path)
    with pytest.raises(NoCluster, match="automountServiceAccountToken"):
        account_within({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path)


@pytest.mark.parametrize(
    ("host", "address"), [("10.0.0.1", "https://10.0.0.1:6443"), ("fd00::1", "https://[fd00::1]:6443")]
)
def test_a_pod_knows_where_to_ask(tmp_path: Path, host: str, address: str) -> None:
    """By the variables and files that Kubernetes gives it."""
    (tmp_path / "namespace").write_text("ml\n")
    environment = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": "6443", "HOSTNAME": "riverkeep-0"}
    assert account_within(environment, tmp_path) == Account(address, tmp_path, "ml", "riverkeep-0")


def test_only_the_cluster_itself_is_believed(cluster: FakeKubernetes, tmp_path: Path) -> None:
    """By its certificate; and no proxy that lies outside is asked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
        with Cluster(cluster.account) as asked:
            assert asked.pod(DAEMON) is not None
    for name in ("token", "namespace"):
        (tmp_path / name).write_bytes((cluster.files / name).read_bytes())
    stranger = Account(cluster.account.address, tmp_path, "ml", DAEMON)
    with pytest.raises(ClusterError, match="certificate cannot be read"):
        Cluster(stranger)
    # Another authority's: the system's own.
    (tmp_path / "ca.crt").write_text((Path(__file__).parents[3] / "certificates.py").read_text())
    with pytest.raises(ClusterError, match="certificate cannot be read"):
        Cluster(stranger)


def test_a_token_is_read_each_time(cluster: FakeKubernetes) -> None:
    """It is renewed within the hour; one that is refused meanwhile may be taken in a while."""
    with Cluster(cluster.account) as asked:
        asked.pod(DAEMON)
        cluster.renew("second")
        asked.pod(DAEMON)
        cluster.token = "third"
        with pytest.raises(ClusterError, match="401: Unauthorized") as refused:
            asked.pod(DAEMON)
        assert refused.value.is_passing
        (cluster.files / "token").unlink()
        with pytest.raises(ClusterError, match="token cannot be read") as unread:
            asked.pod(DAEMON)
        assert unread.value.is_passing


def test_an_answer_that_makes_no_sense_is_an_error(cluster: FakeKubernetes) -> None:
    """Neither a proxy's page nor a list where an object was asked for is taken for one."""
    cluster.pods["odd"] = []  # type: ignore[assignment]
    with Cluster(cluster.account) as asked, pytest.raises(ClusterError, match="no object of Kubernetes"):
        asked.pod("odd")
