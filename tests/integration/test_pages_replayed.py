"""The commands of the documents, as they stand there, on one running service: README and the pages on one thing each.

Whatever is in a block of code on any page is run here, or elsewhere, or it says here why it is not.
"""

import gzip
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import anyio
import pytest
import yaml
from mcp import Client
from mcp.client.stdio import StdioServerParameters

from checkpoints.card import Card
from checkpoints.generation_store import GenerationStore
from serving.keys.entries import parse_entries
from streams.document import Batch, Partition
from tests.brokers import Broker, make_topic
from tests.daemon_harness import Daemon, Home, batch_of, daemon, fake_learner, fill, make_home, sentences
from tests.fake_mlflow import serving as mlflow
from tests.integration.test_deploy import run
from tests.integration.test_deploy_jobs import kustomized
from tests.integration.test_helm import helm
from tests.models import make_adapter
from tests.tutorials import BLOCK, CommandBlock, command_blocks, follow
from tests.unproven import CURL, KUBECTL, PROMTOOL, program

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
SMALL_MODEL: Final = ROOT / "daemon" / "demo" / "data" / "model"
HERE: Final = (
    *("README.md", "feedback.md", "files.md", "http.md", "keys.md", "kubernetes.md", "mlflow.md", "page.md"),
    # Last: it goes back to the base.
    "erasure.md",
)
"""Pages whose commands are run in this file."""
PERSONS_TEXTS: Final = 5
ELSEWHERE: Final = {
    "classifier.md": "tests/integration/test_classifier.py",
    "dashboard.md": "tests/integration/test_classifier.py",
    "gpu.md": "tests/integration/test_tutorial.py",
    "operations.md": "tests/integration/test_systemd_install.py",
    "tutorial.md": "tests/integration/test_tutorial.py",
}
NOT_RUN: Final = {
    "make demo": "tests/integration/test_demo.py runs the same demo",
    "make test": "this is it",
    "pip install .": "tests/integration/test_systemd_install.py does, with what is installed already",
    "riverkeep run": "it is the service that all others ask",
    "kubectl get secret": "there is no cluster to ask",
    "kubectl patch secret": "there is no cluster to change",
    "kubectl get pods": "there is no cluster to watch",
    "ssh -L": "there is no other machine",
}
"""Commands by how they begin."""
OTHERS: Final = {
    ("adapters.md", "python"): "test_the_lines_for_peft_load_an_adapter",
    ("assistants.md", "json"): "test_an_assistant_is_answered_by_what_its_file_starts",
    ("classifier.md", "json"): "a record as the page's commands send it",
    ("engines.md", "json"): "what is sent, not what is written",
    ("keys.md", "conf"): "test_the_file_of_keys_is_read_as_it_is_shown",
    ("kubernetes.md", "yaml"): "test_the_overlay_is_built_as_it_is_shown",
    ("skills.md", "json"): "tests/unit/learner/skills reads every form of such a line",
}
"""Blocks of other languages, with what becomes of them."""
NOT_WRITTEN_BY_HAND: Final = "commands.md"
"""Its blocks are what each command says of itself; `test_commands_in_documents_exist` follows them word by word."""
LOADED: Final = frozenset({"toml", "text"})
"""Settings are loaded by tests/docs/test_docs.py; what is printed is compared with what its commands print."""


def text_of(page: str) -> str:
    """A page's text."""
    return (ROOT / page if page == "README.md" else DOCS / page).read_text(encoding="utf-8")


def is_not_run(line: str) -> bool:
    """Whether there is a reason for that."""
    return line.startswith(tuple(NOT_RUN))


def blocks_of(page: str) -> list[CommandBlock]:
    """A page's commands without those that are not run."""
    found = [
        "".join(line for line in each.commands.splitlines(keepends=True) if not is_not_run(line))
        for each in command_blocks(text_of(page))
    ]
    return [CommandBlock(commands, ()) for commands in found if commands.strip()]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a person types, beside a service.

    Attributes:
        folder: with the files that the pages name.
        home: of the service.
    """

    folder: Path
    home: Home

    def follow(self, page: str, elsewhere: Mapping[str, str] = {}) -> None:
        """Run the page's commands in one shell."""
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "RIVERKEEP_CONFIG": str(self.home.config),
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }
        places = {
            "curl ": "curl --fail-with-body --silent --show-error ",
            ":8400": f":{self.home.serving_port}",
            "/var/lib/riverkeep": str(self.home.settings.state_dir),
        }
        follow(blocks_of(page), cwd=self.folder, environment=environment, elsewhere={**elsewhere, **places})


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, embedded_broker: Broker) -> Place:
    """With the files that pages name, and settings for the demo's small model."""
    make_topic(embedded_broker, name="pages")
    folder = tmp_path_factory.mktemp("typed")
    home = make_home(folder / "home", model=SMALL_MODEL, broker=embedded_broker, topic="pages", serving=True)
    (folder / "old").mkdir()
    for name in ("1999", "2000"):
        lines = [json.dumps({"text": text}) for text in sentences(60, seed=int(name))]
        (folder / "old" / f"{name}.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (folder / "deploy").symlink_to(ROOT / "deploy")
    for name, text in {
        "admin-token": "a-token-of-the-pages",
        "api-keys": "",
        "my-values.yaml": "{}\n",
        "prompt.txt": "The river is",
        "the-key": "rk-a-key-that-a-client-goes-on-using-0123456789",
    }.items():
        (folder / name).write_text(text)
    return Place(folder, home)


@pytest.fixture(scope="module")
def running(place: Place) -> Iterator[Daemon]:
    """The service, once README's commands have been followed: a generation beside the base, and new text."""
    place.follow("README.md", {"riverkeep doctor": "riverkeep doctor --skip-model"})
    fill(place.home, before=0, fresh=200)
    with place.home.store() as store:
        store.append(batch_of_a_person())
    with daemon(place.home, learner=fake_learner("good")) as started:
        started.until(lambda control: control.readiness()["ready"], what="readiness")
        started.until(lambda control: control.request_round(), what="a round to be begun")
        started.until(lambda control: control.round(1)["ended_at"], what="its end")
        started.until(lambda control: control.status()["serving"]["answering"] == 1, what="the swap")
        fill(place.home, before=0, fresh=200, seed=20)
        yield started


def batch_of_a_person() -> Batch:
    """Texts of the person whom the pages name."""
    batch = batch_of(sentences(PERSONS_TEXTS, seed=4711), Partition("file:person", 0))
    return replace(batch, documents=tuple(each._replace(key="user-4711") for each in batch.documents))


def test_every_block_is_run_or_says_why_not() -> None:
    """None is without a language, which nothing would run; what is left out is still there."""
    pages = ["README.md", *(path.name for path in sorted(DOCS.glob("*.md")) if path.name != NOT_WRITTEN_BY_HAND)]
    blocks = [(page, *found) for page in pages for found in BLOCK.findall(text_of(page))]
    assert {page for page, language, _ in blocks if language == "sh"} == {*HERE, *ELSEWHERE}
    others = {(page, language) for page, language, _ in blocks if language not in {"sh", *LOADED}}
    assert others == OTHERS.keys()
    lines = [line for page in HERE for each in command_blocks(text_of(page)) for line in each.commands.splitlines()]
    assert {begins for begins in NOT_RUN for line in lines if line.startswith(begins)} == NOT_RUN.keys()
    for path in ELSEWHERE.values():
        assert (ROOT / path).is_file()


@pytest.mark.slow
@pytest.mark.parametrize("page", HERE[1:])
def test_the_commands_of_a_page_work(page: str, place: Place, running: Daemon) -> None:
    """Each, in their order; only addresses, ids and what a cluster would do are others."""
    program("curl", CURL)
    if page == "kubernetes.md":
        program("kubectl", KUBECTL)
        helm()
    if page == "erasure.md":
        fill(place.home, before=0, fresh=200, seed=40)
        running.until(lambda control: control.find("user-4711")["samples"] == PERSONS_TEXTS, what="the person's texts")
    with mlflow() as (tracking, told):
        place.follow(page, elsewhere_of(page, place, tracking))
    assert bool(told.runs) == (page == "mlflow.md")
    if page == "kubernetes.md":
        running.until(lambda control: control.round(2)["ended_at"], what="the end of the round that was begun")
    if page == "erasure.md":
        running.until(lambda control: control.find("user-4711")["erased_at"], what="the erasure")
        running.until(
            lambda control: control.status()["serving"]["answering"] > 1, what="a generation without the text"
        )


def elsewhere_of(page: str, place: Place, tracking: str) -> dict[str, str]:
    """What stands for what is not here."""
    state = place.home.settings.state_dir
    ask = f"curl -s localhost:{place.home.serving_port}/v1/chat/completions -H 'content-type: application/json' "
    body = json.dumps({"messages": [{"role": "user", "content": "How long is it?"}], "max_tokens": 4})
    identity = f"""$({ask} -d '{body}' | sed -n 's/.*"id": *"\\([^"]*\\)".*/\\1/p')"""
    by_page = {
        "feedback.md": {
            '\'{"id": "chatcmpl-…"': f"""'{{"id": "'"{identity}"'\"""",
        },
        "files.md": {"find .": f"cd {state}/checkpoints/generations/000001; find ."},
        "kubernetes.md": {
            "kubectl create secret": "kubectl create --dry-run=client --output yaml secret",
            "kubectl apply -k": "kubectl kustomize",
            "kubectl exec riverkeep-0 -- ": "env ",
            "helm upgrade --install": "helm template",
            "helm install": "helm template",
        },
        "keys.md": {
            "riverkeep keys add": f"export RIVERKEEP_SERVING__API_KEY_FILE={place.folder}/keys\nriverkeep keys add"
        },
        "mlflow.md": {"http://mlflow:5000": tracking},
        "page.md": {
            "ask 3 5 --blind --max-tokens 64 < prompt.txt": "ask 0 1 --blind --max-tokens 64 < prompt.txt | tee blind",
            "pick 4711": "pick $(grep -oE 'pick [0-9]+' blind | grep -oE '[0-9]+' | head -n 1)",
        },
    }
    return by_page.get(page, {})


def test_every_part_of_operations_with_commands_is_followed_somewhere() -> None:
    """By its heading."""
    parts = text_of("operations.md").split("\n## ")
    with_commands = {part.partition("\n")[0] for part in parts if list(command_blocks(part))}
    installed = {"Install", "Secrets", "Upgrade"}
    assert with_commands == {"Backup", "Restore", *installed, "Prometheus and Grafana"}
    assert all(f'"{name}"' in (ROOT / ELSEWHERE["operations.md"]).read_text() for name in installed)
    assert all(f'"{name}"' in (ROOT / "tests/faults/test_backup.py").read_text() for name in ("Backup", "Restore"))


def test_alerts_lead_where_the_command_says(tmp_path: Path) -> None:
    """Each to its page there; Prometheus takes the file as it did before."""
    part = text_of("operations.md").partition("\n## Prometheus and Grafana\n")[2].partition("\n## ")[0]
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    follow(list(command_blocks(part)), cwd=tmp_path, environment=environment, elsewhere={})
    groups = yaml.safe_load((tmp_path / "alerts.yaml").read_text())["groups"]
    for rule in (rule for group in groups for rule in group["rules"]):
        assert rule["annotations"]["runbook_url"] == f"https://wiki.example/riverkeep/{rule['alert']}.md"
    checked = run(program("promtool", PROMTOOL), "check", "rules", str(tmp_path / "alerts.yaml"))
    assert checked.returncode == 0, checked.stdout


def test_the_file_of_keys_is_read_as_it_is_shown() -> None:
    """Two entries, with their limits."""
    ((_, shown),) = [found for found in BLOCK.findall(text_of("keys.md")) if found[0] == "conf"]
    assert [entry.name for entry in parse_entries(shown)] == ["alice", "bob"]


def test_the_overlay_is_built_as_it_is_shown(tmp_path: Path) -> None:
    """With the components that it names."""
    ((_, shown),) = [found for found in BLOCK.findall(text_of("kubernetes.md")) if found[0] == "yaml"]
    overlay = yaml.safe_load(shown)
    assert overlay["resources"] == ["../kubernetes"]
    names = [name.removeprefix("../kubernetes-") for name in overlay["components"]]
    kinds = {each["kind"] for each in kustomized(tmp_path, names)}
    assert {"StatefulSet", "Deployment", "HorizontalPodAutoscaler", "RoleBinding"} <= kinds


# Peft asks transformers by a name that is going.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_the_lines_for_peft_load_an_adapter(tmp_path: Path) -> None:
    """Generation 7, on the base that it lies on."""
    store = GenerationStore(tmp_path / "checkpoints")
    store.publish(SMALL_MODEL, 0, Card(0, "causal-lm"))
    make_adapter(store, tmp_path / "adapter")
    shutil.copytree(tmp_path / "adapter", store.path(7))
    ((_, lines),) = [found for found in BLOCK.findall(text_of("adapters.md")) if found[0] == "python"]
    names: dict[str, object] = {}
    exec(lines.replace("STATE", str(tmp_path)), names)
    assert type(names["model"]).__name__ == "PeftModelForCausalLM"


def test_an_assistant_is_answered_by_what_its_file_starts(place: Place) -> None:
    """The command with its arguments, with the service's settings for those of /etc."""
    ((_, shown),) = [found for found in BLOCK.findall(text_of("assistants.md")) if found[0] == "json"]
    server = json.loads(shown)["mcpServers"]["riverkeep"]
    assert server["command"] == "riverkeep"
    words = [str(place.home.config) if word == "/etc/riverkeep/riverkeep.toml" else word for word in server["args"]]
    started = StdioServerParameters(
        command=sys.executable,
        args=["-m", "daemon", *words],
        cwd=place.folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )

    async def ask() -> list[str]:
        async with Client(started) as client:
            return [tool.name for tool in (await client.list_tools()).tools]

    assert "status" in anyio.run(ask)
