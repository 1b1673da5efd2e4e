"""What would fail here, found before it fails."""

import json
import os
import re
import shutil
import socket
import subprocess
from collections import namedtuple
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from benchmarks.tiny_architectures import tiny_model
from daemon.doctor import load_model, machine, model, rounds
from daemon.doctor.findings import Finding
from daemon.doctor.how_it_learns import describe_parameters
from daemon.lifecycle.lock import StateLock
from daemon.settings.admin import AdminSettings
from daemon.settings.tree import ModelSettings, Settings
from daemon.sizes.estimate import describe_parts, least_bytes, round_parts, serving_bytes, training_bytes
from daemon.sizes.shape import ModelShape
from learner.process_settings import LearnerSettings
from learner.settings import RecipeSettings
from memory.ledger.records import SliceScore
from memory.store import Store
from serving.settings import ServingSettings
from tests.command_line import riverkeep
from tests.models import make_tokenizer
from tests.nvidia_smi import FakeGpu, put_on_path

BASE_MODEL = Path(__file__).parents[4] / "daemon" / "demo" / "data" / "model"
SMALL = LearnerSettings(recipe=RecipeSettings(micro_batch=1, sequence_length=32))
"""One rehearsal, and that a short one."""
Usage = namedtuple("Usage", "total used free")  # noqa: PYI024 - as shutil's own


def settings(home: Path, **parts: object) -> Settings:
    """Settings whose state is in `home`; ports are free ones unless given."""
    chosen = {"admin": AdminSettings(port=0), "serving": ServingSettings(port=0), **parts}
    return Settings(state_dir=home / "state", model=ModelSettings(path=home / "model"), **chosen)


def found(findings: list[Finding], name: str) -> Finding:
    """The finding of that name."""
    return next(finding for finding in findings if finding.name == name)


def test_a_good_machine_has_nothing_to_fear(tmp_path: Path) -> None:
    """Disk, SQLite and ports: tried, nothing left behind."""
    findings = machine.examine(settings(tmp_path), load_model=False)
    volatile = {"file system", "disk space"}
    assert [finding for finding in findings if not finding.ok and finding.name not in volatile] == []
    assert list((tmp_path / "state").iterdir()) == []


def test_every_failure_has_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A taken port, a full and slow disk: each says what to do."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100, 99, 1))
    monkeypatch.setattr(machine, "SLOW_SYNC_S", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken = listener.getsockname()[1]
        findings = machine.examine(settings(tmp_path, admin=AdminSettings(port=taken)), load_model=False)
    failed = {finding.name: finding.remedy for finding in findings if not finding.ok}
    assert {"admin port", "disk space", "disk's fsync"} <= failed.keys()
    assert all(failed.values())


def test_a_state_directory_that_cannot_be_made_is_found(tmp_path: Path) -> None:
    """A file stands in its way: nothing else about the disk is asked."""
    (tmp_path / "state").touch()
    finding = found(machine.examine(settings(tmp_path), load_model=False), "state directory")
    assert not finding.ok
    assert "state" in finding.detail


@pytest.mark.parametrize(("kind", "ok"), [("ext4", True), ("nfs4", False), ("tmpfs", False), ("", True)])
def test_file_systems_that_cannot_be_trusted_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, ok: bool
) -> None:
    """Locks over NFS and memory that is gone at reboot are no place for a store."""
    monkeypatch.setattr(machine, "file_system_of", lambda _: kind)
    assert found(machine.examine(settings(tmp_path), load_model=False), "file system").ok is ok


def test_a_running_daemon_is_no_failure(tmp_path: Path) -> None:
    """Its ports are taken by itself; it is named instead."""
    with StateLock(tmp_path / "state", now=0.0):
        findings = machine.examine(settings(tmp_path), load_model=False)
    assert found(findings, "daemon").detail.startswith(f"process {os.getpid()}")
    assert all("port" not in finding.name for finding in findings)


def test_an_old_sqlite_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library that can corrupt a write-ahead log is found before it does."""
    monkeypatch.setattr("memory.database.sqlite.sqlite_version_info", (3, 40, 1))
    finding = machine.sqlite()
    assert (finding.ok, finding.detail) == (False, "3.40.1")


def test_a_model_that_cannot_be_loaded_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the process does: says why, says nonsense, dies, hangs."""
    chosen = settings(tmp_path)
    finding = _examined(chosen, monkeypatch, lambda: _done('{"error": "no config.json"}', 0))
    assert (finding.ok, finding.detail) == (False, "no config.json")
    assert "ended with: Killed" in _examined(chosen, monkeypatch, lambda: _done("", -9, "x\nKilled")).detail
    assert "exit status -9" in _examined(chosen, monkeypatch, lambda: _done("", -9)).detail

    def hang() -> "subprocess.CompletedProcess[str]":
        raise subprocess.TimeoutExpired("x", 1)

    late = _examined(chosen, monkeypatch, hang)
    assert late.detail == f"{chosen.model.path} did not load within 10 minutes"
    assert "--skip-model" in late.remedy


def test_memory_that_does_not_suffice_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of a trillion parameters fits nowhere."""
    huge = asdict(replace(TINY, parameters=10**12, stored_bytes=10**12))
    monkeypatch.setattr(model, "_load_in_a_process", lambda *_: {"device": "cpu (x)", **huge})
    finding = found(list(model.examine(settings(tmp_path))), "memory")
    assert not finding.ok
    assert "smaller model" in finding.remedy


def test_a_model_that_fits_with_an_adapter_alone_is_told_to_have_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An 8B on a GPU of 80 GB: 32 GB of it in float32, where all weights and their optimizer are 160."""
    large = replace(TINY, parameters=8 * 10**9, stored_bytes=16 * 10**9, device_type="cuda")
    monkeypatch.setattr(model, "_load_in_a_process", lambda *_: {"device": "cuda (x)", **asdict(large)})
    put_on_path(tmp_path, monkeypatch, [FakeGpu("GPU-a", 78 * 1024)])
    finding = found(list(model.examine(settings(tmp_path))), "GPU memory")
    assert not finding.ok
    with_adapter = least_bytes(large, RecipeSettings(adapter="lora")) / 2**30
    assert 30 < with_adapter < 33
    assert 'set `learner.recipe.adapter = "lora"`' in finding.remedy
    assert f"with which that is {with_adapter:.1f} GiB" in finding.remedy
    assert "optimizer 59.60" in finding.detail


TINY = ModelShape(
    parameters=1_066_112,
    stored_bytes=2_132_224,
    outputs=2048,
    by_token=True,
    hidden=128,
    inner=352,
    heads=4,
    layers=4,
    positions=512,
    compute_bytes=4,
    device_type="cpu",
)


def test_answering_takes_a_process_and_two_generations() -> None:
    """Of the demo's model it took 765 MB."""
    assert 0.7e9 < serving_bytes(TINY) < 0.9e9


@pytest.mark.parametrize(
    ("larger", "recipe"),
    [
        (replace(TINY, outputs=150_000), RecipeSettings()),
        (replace(TINY, layers=32), RecipeSettings()),
        (TINY, RecipeSettings(micro_batch=32)),
        (replace(TINY, positions=4096), RecipeSettings(sequence_length=4096)),
    ],
)
def test_what_takes_memory_is_counted(larger: ModelShape, recipe: RecipeSettings) -> None:
    """Vocabulary, layers, micro-batch and sequences; activations that are computed again are not kept."""
    assert training_bytes(larger, recipe) > training_bytes(TINY, RecipeSettings())
    saving = recipe.model_copy(update={"gradient_checkpointing": True})
    assert training_bytes(larger, saving) < training_bytes(larger, recipe)


def test_what_a_round_takes_is_told_part_by_part() -> None:
    """All weights take five times their size in float32; beside an adapter they stand, and are the parent's as well."""
    whole = RecipeSettings(micro_batch=2)
    parts = round_parts(TINY, whole)["train"]
    assert sum(parts.values()) == training_bytes(TINY, whole)
    weights = 4 * TINY.parameters
    assert parts["weights"] == parts["gradients"] == parts["parent"] == parts["best so far"] == weights
    assert parts["optimizer"] == 2 * weights
    one_row = round_parts(TINY, RecipeSettings(micro_batch=1))["train"]
    assert 2 * one_row["activations"] == parts["activations"]
    adapted = round_parts(TINY, whole.model_copy(update={"adapter": "lora"}))["train"]
    assert adapted["weights"] - adapted["gradients"] == parts["weights"]
    assert adapted["parent"] == 0
    assert describe_parts(replace(TINY, parameters=2**28), whole).startswith(
        "by the model's shape, in GiB: process 0.78, weights 1.00, gradients 1.00, optimizer 2.00, parent 1.00, "
        "best so far 1.00, activations 0.10, logits 0.01 (in its phase train); "
    )


@pytest.mark.parametrize(
    ("change", "phase", "part", "weights"),
    [
        ({"ewc": 1.0}, "train", "importance", 3),
        ({"ewc": 1.0}, "importance", "importance", 2),
        ({"l2_sp": 1.0}, "train", "importance", 1),
        ({"early_stop_checks": 0}, "train", "best so far", 0),
        ({"kl": 0.0}, "train", "parent", 0),
        ({}, "score", "base", 1),
    ],
)
def test_what_a_recipe_asks_for_is_a_part(change: dict[str, object], phase: str, part: str, weights: int) -> None:
    """In copies of the weights; what it does not ask for takes nothing."""
    assert round_parts(TINY, RecipeSettings(**change))[phase][part] == weights * 4 * TINY.parameters


def test_the_largest_weight_is_made_anew_in_each_pass() -> None:
    """An embedding of 150,000 rows has a gradient that takes more than a short row's activations."""
    short = RecipeSettings(micro_batch=1, sequence_length=8)
    large = replace(TINY, largest_bytes=2**28)
    assert round_parts(large, short)["train"]["one weight's gradient"] == 2**28
    assert "activations" not in round_parts(large, short)["train"]


def test_an_adapter_takes_less_and_the_more_of_it_the_more() -> None:
    """Of a model of a billion parameters weights once; where the base is scored, twice."""
    shape = replace(TINY, parameters=10**9, stored_bytes=2 * 10**9, hidden=2048, inner=8192, layers=16, outputs=32_000)
    recipe = RecipeSettings(sequence_length=64, micro_batch=1)
    lora = recipe.model_copy(update={"adapter": "lora"})
    all_modules = lora.model_copy(update={"adapter_modules": ("mlp", "attention")})
    large = all_modules.model_copy(update={"adapter_rank": 256})
    on_gpu = replace(shape, device_type="cuda")
    recipes = (lora, all_modules, large, recipe)
    # While it trains: later rounds score the base beside the model, which takes an adapter's more than all of that.
    sizes = [sum(round_parts(on_gpu, each)["train"].values()) for each in recipes]
    assert sizes == sorted(sizes)
    assert sizes[-1] - sizes[0] == pytest.approx(16e9, rel=0.02)
    assert training_bytes(shape, lora) <= training_bytes(shape, all_modules) < 0.8 * training_bytes(shape, recipe)
    assert training_bytes(shape, lora.model_copy(update={"adapter": "dora", "micro_batch": 60})) > training_bytes(
        shape, lora.model_copy(update={"micro_batch": 60})
    )
    by_name = lora.model_copy(update={"adapter_modules": ("q_proj",)})
    assert training_bytes(shape, by_name) == training_bytes(shape, all_modules)


@pytest.mark.parametrize(("loss", "ok"), [(7.6, False), (7.0, False), (3.5, True)])
def test_a_model_that_only_guesses_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: float, *, ok: bool
) -> None:
    """By what the rounds so far said of the base on held-out text: it cannot judge any."""
    chosen = settings(tmp_path)
    chosen.state_dir.mkdir()
    monkeypatch.setattr(model, "_load_in_a_process", lambda *_: {"device": "cpu (x)", **asdict(TINY)})
    monkeypatch.setattr(model, "_room", lambda *_: None)
    with Store.open(chosen.database, chosen.memory) as store:
        store.generations.register_base(digest="d", source_path="m")
        assert "what the model knows" not in {one.name for one in model.examine(chosen)}
        store.generations.save_scores(0, {"anchor": SliceScore(loss, 1000, 40)})
    finding = found(list(model.examine(chosen)), "what the model knows")
    assert finding.ok is ok
    assert "guessing among 2,048 tokens has 7.62" in finding.detail


def _done(stdout: str, status: int, stderr: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.CompletedProcess([], status, stdout, stderr)


def _examined(
    chosen: Settings, monkeypatch: pytest.MonkeyPatch, run: Callable[[], "subprocess.CompletedProcess[str]"]
) -> Finding:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: run())
    return next(iter(model.examine(chosen)))


@pytest.mark.slow
def test_the_model_is_loaded_in_a_process_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real model: its size and device are told, a round is rehearsed with it, and nothing of that stays."""
    monkeypatch.setattr(rounds, "TIMED_S", 0.0)
    # However busy the machine is: the second rehearsal has all the rows of the settings.
    monkeypatch.setattr(rounds, "AFFORDED_S", rounds.LIMIT_S)
    learner = LearnerSettings(recipe=RecipeSettings(sequence_length=128))
    chosen = settings(tmp_path, learner=learner).model_copy(update={"model": ModelSettings(path=BASE_MODEL)})
    chosen.state_dir.mkdir()
    told: list[str] = []
    findings = list(model.examine(chosen, told.append))
    assert all(finding.ok for finding in findings), findings
    assert "million parameters" in found(findings, "model").detail
    assert "(rehearsed with 1 and 16 rows of 128 tokens a pass)" in found(findings, "memory").detail
    assert "400,000 new tokens" in found(findings, "a round's time").detail
    assert [line.strip().split(": ")[-1] for line in told[1:5]] == [
        "Rehearsing a round of 2 steps, 1 row of 128 tokens a pass …",
        "scoring held-out text",
        "training",
        "candidates",
    ]
    assert not list(chosen.state_dir.iterdir())


@pytest.fixture
def loaded_here(monkeypatch: pytest.MonkeyPatch, torch_settings_kept: None) -> None:
    """The model is loaded in this process: the real job without the seconds that the start of a process takes."""

    def load(chosen: Settings, store: Path) -> object:
        path, kind, labels = chosen.model.path, chosen.model.kind, chosen.model.labels
        answer = load_model.examine(store, path, kind, labels, chosen.learner)
        return json.loads(json.dumps(answer))

    monkeypatch.setattr(model, "_load_in_a_process", load)


@pytest.mark.slow
@pytest.mark.usefixtures("loaded_here")
def test_beside_a_daemon_no_round_is_rehearsed(tmp_path: Path) -> None:
    """It would take memory and time from it: an estimate is all there is."""
    chosen = settings(tmp_path).model_copy(update={"model": ModelSettings(path=BASE_MODEL)})
    with StateLock(chosen.state_dir, now=0.0):
        findings = list(model.examine(chosen))
    assert "an estimate: no round is rehearsed while the daemon runs" in found(findings, "memory").detail
    assert "a round's time" not in {finding.name for finding in findings}


@pytest.mark.slow
@pytest.mark.usefixtures("loaded_here")
def test_of_divided_weights_each_device_holds_a_share(tmp_path: Path) -> None:
    """Which no rehearsal on one device would show."""
    learner = LearnerSettings(device="cpu", devices=4, sharded=True)
    chosen = settings(tmp_path, learner=learner).model_copy(update={"model": ModelSettings(path=BASE_MODEL)})
    findings = list(model.examine(chosen))
    assert "each holds a share of the model while it trains" in found(findings, "devices").detail
    assert "no round is rehearsed of a model whose weights are divided" in found(findings, "memory").detail
    assert "a round's time" not in {finding.name for finding in findings}


def test_a_broker_that_is_away_is_found(tmp_path: Path) -> None:
    """At once, in the system's words, with the addresses that were tried; nothing is said beside it."""
    (tmp_path / "model").mkdir()
    (tmp_path / "riverkeep.toml").write_text(
        'state_dir = "state"\n[model]\npath = "model"\n[streams]\nbootstrap_servers = ["127.0.0.1:1"]\n'
        'connect_seconds = 600\n[[streams.topics]]\nname = "news"\n'
    )
    run = riverkeep("doctor", "--skip-model", "--json", cwd=tmp_path)
    (broker,) = [one for one in json.loads(run.stdout) if one["name"] == "broker"]
    assert (run.returncode, broker["ok"]) == (1, False)
    assert broker["detail"] == "127.0.0.1:1: Connection refused"
    assert not run.stderr


@pytest.mark.slow
@pytest.mark.usefixtures("loaded_here")
def test_a_model_without_attention_is_measured(tmp_path: Path) -> None:
    """It has no heads: an estimate, no traceback."""
    from transformers import MambaConfig, MambaForCausalLM

    from tests.models import make_tokenizer

    MambaForCausalLM(MambaConfig(vocab_size=320, hidden_size=32, num_hidden_layers=2)).save_pretrained(
        tmp_path / "model"
    )
    make_tokenizer().save_pretrained(tmp_path / "model")
    findings = list(model.examine(settings(tmp_path, learner=SMALL)))
    assert "thousand parameters" in found(findings, "model").detail, findings
    assert "a round needs about" in found(findings, "memory").detail


@pytest.mark.slow
@pytest.mark.usefixtures("loaded_here")
def test_a_device_that_is_not_here_is_no_fault_of_the_models(tmp_path: Path) -> None:
    """The remedy is about the device."""
    chosen = settings(tmp_path, learner=LearnerSettings(device="cuda:9"))
    (finding,) = model.examine(chosen)
    assert not finding.ok
    assert "learner.device" in finding.remedy


def test_a_small_model_is_counted_in_thousands() -> None:
    """It has not 0.0 million parameters."""
    assert describe_parameters(8_400) == "8.4 thousand parameters"
    assert describe_parameters(1_066_112) == "1.1 million parameters"
    assert describe_parameters(8_030_261_248) == "8.0 billion parameters"


def test_doctor_leaves_with_a_status_and_json(tmp_path: Path) -> None:
    """Exit status 1 when something would fail, the findings as JSON."""
    (tmp_path / "model").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        text = f'state_dir = "state"\n[model]\npath = "model"\n[admin]\nport = {port}\n'
        (tmp_path / "riverkeep.toml").write_text(text)
        run = riverkeep("doctor", "--skip-model", "--json", cwd=tmp_path)
        shown = riverkeep("doctor", "--skip-model", cwd=tmp_path)
    assert run.returncode == shown.returncode == 1
    ports = [one for one in json.loads(run.stdout) if one["name"] == "admin port"]
    assert ports[0]["ok"] is False
    assert "Set `admin.port`" in " ".join(shown.stdout.split()) or "admin.port" in shown.stdout


@pytest.mark.usefixtures("loaded_here")
@pytest.mark.parametrize(
    ("name", "own", "ok", "said"),
    [
        ("llama", {}, True, "requests together, with a cache"),
        ("openai-gpt", {}, True, "one request at a time, read anew for each token: .*answers take far longer"),
        ("bert", {}, False, "sees later tokens.*take one that is"),
    ],
)
def test_how_a_model_will_answer_is_told(
    name: str, own: dict[str, object], ok: bool, said: str, tmp_path: Path
) -> None:
    """Or why it will not, before anything is imported."""
    made = tiny_model(name, "causal-lm", own=own)
    made.save_pretrained(tmp_path / "model")
    make_tokenizer().save_pretrained(tmp_path / "model")
    chosen = settings(tmp_path)
    # Beside a daemon, so that no round is rehearsed: this is about answers.
    with StateLock(chosen.state_dir, now=0.0):
        findings = list(model.examine(chosen))
    finding = found(findings, "how it answers" if ok else "model")
    assert finding.ok is ok
    assert re.search(said, finding.detail)
