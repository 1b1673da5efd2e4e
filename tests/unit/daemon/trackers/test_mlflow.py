"""Rounds as MLflow has them: a fake that is as strict, and itself where it is installed (`make test-mlflow`)."""

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from daemon.errors import BadRequest
from daemon.trackers.mlflow import MlflowServer, TrackerFailed
from daemon.trackers.telling import ToldRounds, tell_rounds
from memory.ledger.records import SliceScore
from memory.ledger.states import RoundState
from tests.brokers import free_port
from tests.fake_mlflow import FakeMlflow, serving
from tests.harness import get, post, wait_until
from tests.unit.daemon.kept import Kept
from tests.unproven import MLFLOW, MLFLOW_PYTHON

SECRET = "xylophone"
REPORT: dict[str, Any] = {
    "device": "cpu",
    "detail": SECRET,
    "prequential": {"mean_nll": 4.0, "by_source": {}},
    "training": {"steps": 18, "tokens_new": 421, "seconds": 73.5, "losses": {"new": 3.5, "kl": None}},
    "slices": {
        "anchor": {"base": 3.25, "parent": 3.25, "0.25": 3.5, "0.50": 3.375},
        "file:/data/../a@1-1": {"parent": 4.0, "0.25": 3.0},
        "file:/data/../b@1-1": {"parent": 4.0, "0.25": 2.0},
        "file:/data/.. a@1-1": {"parent": None, "0.25": None},
    },
    "flips": {"0.25": {"worse": 0.125, "better": 0.25, "documents": 137}},
}
VERDICT: dict[str, Any] = {
    "decision": "accept",
    "candidate": "0.25",
    "sentence": SECRET,
    "checks": [
        {"name": "learned", "figure": -0.25, "passed": True},
        {"name": "average", "figure": 0.0625, "lower": None, "upper": 0.125, "bound": 0.5, "passed": True},
    ],
}
METRICS = {
    "train/steps": 18,
    "train/tokens_new": 421,
    "train/seconds": 73.5,
    "loss/new": 3.5,
    "prequential/nll": 4.0,
    "gate/learned": 0.25,
    "gate/forgetting": 0.0625,
    "gate/forgetting_upper": 0.125,
    "gate/forgetting_bound": 0.5,
    "nll/anchor": 3.5,
    "nll of parent/anchor": 3.25,
    "plasticity": 2.5,
    "flips/worse": 0.125,
    "flips/better": 0.25,
}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """MLflow's own server on a database."""
    if not MLFLOW_PYTHON.exists():
        MLFLOW.skip()
    home, url = tmp_path_factory.mktemp("mlflow"), f"http://127.0.0.1:{(port := free_port())}"
    command = [str(MLFLOW_PYTHON), "-m", "mlflow", "server", "--backend-store-uri", f"sqlite:///{home}/mlflow.db"]
    process = subprocess.Popen([*command, "--port", str(port), "--workers", "1"], cwd=home, start_new_session=True)
    try:
        wait_until(lambda: process.poll() is None and _answers(f"{url}/health"), timeout_s=240, what="MLflow")
        yield url
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _answers(url: str) -> bool:
    try:
        return get(url).is_success
    except httpx.HTTPError:
        return False


@pytest.fixture(params=["fake", "mlflow"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where a server listens."""
    if request.param == "fake":
        with serving() as (address, _):
            yield address
    else:
        yield request.getfixturevalue("real")


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    """A store with a round that was accepted, one that was refused, and one that waits."""
    made = Kept(tmp_path)
    with made.store:
        made.base()
        made.arrive(40)
        _accept(made)
        made.arrive(40)
        made.refuse()
        made.arrive(40)
        made.hold()
        yield made


def _accept(kept: Kept) -> None:
    draw = kept.begin()
    kept.store.rounds.advance(draw.number, RoundState.JUDGED)
    number = kept.store.generations.reserve(draw.number)
    scores = {"anchor": SliceScore(3.5, 100, 5)}
    kept.store.rounds.accept(
        draw.number, generation=number, digest=f"{number:064x}", scores=scores, verdict=VERDICT, report=REPORT
    )


def told(kept: Kept, url: str, experiment: str) -> ToldRounds:
    """Tell the server of what is kept."""
    with MlflowServer(url, experiment, {}) as server:
        return tell_rounds(kept.control, server)


def all_runs(url: str, experiment: str) -> list[dict[str, Any]]:
    """What the server has, by its REST interface."""
    found = get(f"{url}/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": experiment}).json()
    asked: dict[str, Any] = {"experiment_ids": [found["experiment"]["experiment_id"]], "max_results": 100}
    listed: list[dict[str, Any]] = []
    while True:
        page = post(f"{url}/api/2.0/mlflow/runs/search", json=asked).json()
        listed += page.get("runs", [])
        if "next_page_token" not in page:
            return listed
        asked["page_token"] = page["next_page_token"]


def runs(url: str, experiment: str) -> dict[str, dict[str, Any]]:
    """What the server has, by name."""
    answered = all_runs(url, experiment)
    by_name = {run["info"]["run_name"]: run for run in answered}
    assert len(by_name) == len(answered)
    return by_name


def pairs(run: dict[str, Any], what: str) -> dict[str, Any]:
    """Its tags, parameters or metrics."""
    return {each["key"]: each["value"] for each in run["data"].get(what, [])}


def test_each_round_that_ended_is_a_run_once(kept: Kept, url: str) -> None:
    """With its recipe, figures and verdict; told again, nothing is doubled, and what ended since is added."""
    assert told(kept, url, "once") == ToldRounds((1, 2), 0, 1)
    before = runs(url, "once")
    assert {name: run["info"]["status"] for name, run in before.items()} == {
        "round 1": "FINISHED",
        "round 2": "FINISHED",
    }
    first = before["round 1"]
    assert pairs(first, "params") == {"recipe.kl": "1.0", "seed": "1"}
    metrics = pairs(first, "metrics")
    assert METRICS.items() <= metrics.items()
    assert {name: figure for name, figure in metrics.items() if name.startswith("nll/file")} == {
        "nll/file__data_.._a_1-1": 3.0,
        "nll/file__data_.._b_1-1": 2.0,
    }
    assert {each["step"] for each in first["data"]["metrics"]} == {1}
    tags = pairs(first, "tags")
    assert (tags["riverkeep.generation"], tags["riverkeep.digest"]) == ("1", f"{1:064x}")
    assert (tags["riverkeep.verdict"], tags["riverkeep.state"]) == ("accept", "accepted")
    assert pairs(before["round 2"], "tags")["riverkeep.verdict"] == "refuse"
    assert SECRET not in str(before)

    assert told(kept, url, "once") == ToldRounds((), 2, 1)
    assert runs(url, "once") == before
    kept.control.reject_round(3)
    assert told(kept, url, "once") == ToldRounds((3,), 2, 0)
    assert set(runs(url, "once")) == {"round 1", "round 2", "round 3"}


def test_what_was_told_by_half_is_told_anew(kept: Kept, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the server went away, or the command was killed."""
    with monkeypatch.context() as patch:
        post_ = MlflowServer._post

        def breaking(self: MlflowServer, path: str, body: dict[str, Any]) -> dict[str, Any]:
            if path == "runs/update":
                raise TrackerFailed("gone")
            return post_(self, path, body)

        patch.setattr(MlflowServer, "_post", breaking)
        with pytest.raises(TrackerFailed):
            told(kept, url, "half")
    assert [run["info"]["status"] for run in runs(url, "half").values()] == ["RUNNING"]
    assert told(kept, url, "half") == ToldRounds((1, 2), 0, 1)
    assert set(runs(url, "half")) == {"round 1", "round 2"}
    assert pairs(runs(url, "half")["round 1"], "metrics").items() >= METRICS.items()


def test_another_memorys_rounds_of_the_same_numbers_are_others(
    kept: Kept, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of one that was begun anew; of one that failed it stands."""
    told(kept, url, "two")
    kept.arrive(40)
    kept.store.rounds.fail(kept.begin().number, reason=SECRET)
    rounds, round_ = kept.control.rounds, kept.control.round
    with monkeypatch.context() as patch:
        later: dict[str, Any] = {"begun_at": 5_000.0, "ended_at": 5_001.0}
        patch.setattr(kept.control, "rounds", lambda **more: [{**each, **later} for each in rounds(**more)])
        patch.setattr(kept.control, "round", lambda number: {**round_(number), **later})
        assert told(kept, url, "two").rounds == (1, 2, 4)
    assert told(kept, url, "two").rounds == (4,)
    ended = sorted((run["info"]["run_name"], run["info"]["status"]) for run in all_runs(url, "two"))
    finished = [("round 1", "FINISHED"), ("round 1", "FINISHED"), ("round 2", "FINISHED"), ("round 2", "FINISHED")]
    assert ended == [*finished, ("round 4", "FAILED"), ("round 4", "FAILED")]


@pytest.mark.parametrize("environment", [{"MLFLOW_TRACKING_TOKEN": "t"}, {"MLFLOW_TRACKING_USERNAME": "u"}])
def test_who_asks_is_said_by_mlflows_own_variables(kept: Kept, environment: dict[str, str]) -> None:
    """A token, or a name."""
    with serving() as (url, fake), MlflowServer(url, "any", environment) as server:
        server.known()
        assert fake.authorization is not None
        assert fake.authorization.split()[0] == ("Bearer" if "MLFLOW_TRACKING_TOKEN" in environment else "Basic")


@pytest.mark.parametrize("url", ["sqlite:///mlflow.db", "./mlruns", "databricks", "http://", "https://a:b"])
def test_what_is_no_address_of_a_server_is_refused(url: str) -> None:
    """Before anything is read."""
    with pytest.raises(BadRequest):
        MlflowServer(url, "any", {})


def test_a_server_that_fails_is_named_with_what_it_said(kept: Kept) -> None:
    """Without the password in its address."""
    port = free_port()
    with pytest.raises(TrackerFailed, match=rf"^The MLflow server http://127\.0\.0\.1:{port} cannot be asked: "):
        told(kept, f"http://user:password@127.0.0.1:{port}", "any")
    with (
        serving() as (url, _),
        pytest.raises(TrackerFailed, match=r"answered 404 to /elsewhere/.*ENDPOINT_NOT"),
    ):
        told(kept, f"{url}/elsewhere", "any")


def test_a_deleted_experiment_is_not_written_into(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow would refuse each run, and keep its name."""
    found = {"experiment": {"experiment_id": "1", "lifecycle_stage": "deleted"}}
    monkeypatch.setattr(FakeMlflow, "answer", lambda *_: found)
    with (
        serving() as (url, _),
        MlflowServer(url, "old", {}) as server,
        pytest.raises(TrackerFailed, match="restore it there, or name another"),
    ):
        server.known()
