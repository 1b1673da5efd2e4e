"""No setting of a round is ignored: each one, changed, changes what the round's directory or its learner gets."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import BaseModel

from checkpoints.card import Card
from checkpoints.generation_store import GenerationStore
from daemon.rounds.directories import Rooms
from daemon.rounds.inputs import draw_spec, write_inputs
from daemon.settings.fields import nested_model
from daemon.settings.tree import Settings
from learner.directory.round_directory import BASE, PARENT
from learner.process_settings import LearnerSettings
from memory.database.schema import SECRET_BYTES
from memory.settings import MemorySettings
from memory.store import Store
from streams.document import Partition
from tests.unit.daemon.rooms import BY_HAND, tiny_model
from tests.unit.memory.helpers import NOW, Stream, accept, begin, edited, text

SMALL: Final[dict[str, dict[str, Any]]] = {
    "memory": {
        "holdout_share": 0.3,
        "anchor_minimum": 8,
        "anchor_documents": 40,
        "slice_documents": 12,
        "recent_slices": 3,
        "replay_samples": 150,
        "key_quota": 20,
        "max_sources": 3,
        "source_quota": 90,
        "replay_eras": 3,
        "near_duplicate_similarity": 0.8,
    },
    "gate": {"minimum_documents": 5},
    # Of one device `sharded` would be a mistake.
    "learner": {"device": "cpu", "threads": 1, "devices": 2},
}
"""So small that every bound binds."""

OTHER: Final[dict[str, Any]] = {
    "learner.device": "cuda",
    "learner.devices": 3,
    "learner.threads": 2,
    "learner.plausibility_documents": 17,
    "learner.recipe.adapter": "lora",
    "learner.recipe.adapter_modules": ["attention"],
    "learner.recipe.l2_sp_anchor": "base",
    "learner.recipe.sequence_length": 256,
    "learner.recipe.precision": "bfloat16",
    "learner.recipe.optimizer": "adamw-8bit",
    "learner.recipe.gradient_checkpointing": True,
    "learner.recipe.interpolation": [0.0, 0.75],
    "learner.recipe.replay_ratio": 0.3,
    "learner.recipe.learning_rate": 1e-6,
    "learner.recipe.max_steps": 3,
    "learner.recipe.max_tokens": 900,
    "learner.recipe.max_seconds": 5.0,
    "memory.holdout_share": 0.2,
    "memory.holdout_share_most": 0.5,
    "memory.slice_documents": 9,
    "memory.anchor_documents": 15,
    "memory.anchor_minimum": 1_000,
    "memory.recent_slices": 1,
    "memory.evaluation_documents": 24,
    "memory.holdout_documents": 64,
    "memory.round_tokens": 500,
    "memory.replay_samples": 60,
    "memory.replay_tokens": 3_000,
    "memory.replay_eras": 2,
    "memory.source_quota": 20,
    "memory.key_quota": 5,
    "memory.max_sources": 1,
    "memory.duplicate_window": 1_000,
    "memory.near_duplicate_similarity": 0.5,
}
"""Values for settings that are not simply a number more or the opposite."""

NOT_OF_A_ROUND: Final = {
    "learner.recipe.adapter_base": "goes with an adapter alone: tests/unit/learner/test_four_bits.py",
    "learner.new_label_documents": "of a classifier's draw: tests/unit/daemon/rounds/test_inputs.py",
    "learner.silence_seconds": "the daemon ends a learner by it: tests/unit/daemon/processes/test_learner.py",
    "memory.fresh_samples": "pauses reading: tests/unit/daemon/ingestion/test_ingest.py",
    "memory.fresh_tokens": "pauses reading: tests/unit/daemon/ingestion/test_ingest.py",
    "memory.duplicate_window": "more than a thousand arrivals: tests/unit/memory/identity/test_exact_duplicates.py",
    "memory.trained_documents": "a thousand at least: tests/unit/memory/identity/test_near_duplicates.py",
    "memory.remembered_sides": "a thousand at least: tests/unit/memory/intake/test_split.py",
    "memory.refusals_until_aside": "of refused rounds: tests/unit/memory/ledger/test_aside.py",
    "memory.aside_samples": "of refused rounds: tests/unit/memory/ledger/test_draw.py",
    "memory.quarantine_rows": "of dead letters",
    "memory.quarantine_bytes": "of dead letters",
    "memory.gaps_kept": "of dead letters and gaps",
    "memory.audit_rows": "of who did what: tests/unit/memory/ledger/test_audit.py",
    "memory.lineage_rounds": "what stays known of earlier rounds: tests/unit/memory/ledger/test_retention.py",
    "memory.busy_timeout_s": "of the database",
    "memory.integrity_check": "of the database",
}
"""What decides on other things than a round's directory, and who looks after it."""


def fields(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, Any]]:
    """Every setting below a table with its default, by dotted name."""
    for name, info in model.model_fields.items():
        inner, _ = nested_model(info.annotation)
        if inner is None:
            yield f"{prefix}.{name}", info.get_default(call_default_factory=True)
        else:
            yield from fields(inner, f"{prefix}.{name}")


DEFAULTS: Final = {**dict(fields(LearnerSettings, "learner")), **dict(fields(MemorySettings, "memory"))}


def changed(key: str) -> Any:
    """Another value than the one in force."""
    if key in OTHER:
        return OTHER[key]
    default = DEFAULTS[key]
    if isinstance(default, bool):
        return not default
    if isinstance(default, int):
        return default + 1
    assert isinstance(default, float), f"name another value of {key} in OTHER"
    return default / 2 or 0.5


def settings_with(home: Path, key: str | None) -> Settings:
    """The small settings, with another value of one."""
    tree: dict[str, Any] = {name: dict(table) for name, table in SMALL.items()}
    if key is not None:
        table, *path, name = key.split(".")
        at = tree[table]
        for part in path:
            at = at.setdefault(part, {})
        at[name] = changed(key)
    return Settings.model_validate({"state_dir": str(home), "model": {"path": str(home / "model")}, **tree})


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state with a base and nothing else, always of the same secret: equal settings split equally."""
    home = tmp_path_factory.mktemp("template") / "state"
    home.mkdir()
    tiny_model(home / "model")
    settings = settings_with(home, None)
    GenerationStore(settings.checkpoints_dir, clock=lambda: NOW).publish(settings.model.path, 0, Card(0, "causal-lm"))
    with Store.open(settings.database, settings.memory) as store:
        store.generations.register_base(digest="base", source_path="model")
        with store.file.database.write() as tx:
            tx.execute("UPDATE facts SET value = ? WHERE name = 'secret'", (bytes(SECRET_BYTES),))
    return home


def arrive(store: Store, streams: list[Stream], number: int) -> None:
    """Text of three sources in one period, some of it of one key, some nearly what came before."""
    for source, stream in enumerate(streams):
        first = 1_000 * number + 300 * source
        texts = [text(first + n) for n in range(60)]
        texts += [edited(one, n, words=4) for n, one in enumerate(texts[:20])]
        keys = [f"key {n}" if n % 2 else "one" for n in range(60)] + [None] * 20
        store.append(stream.of(texts, source=f"source {source}", keys=keys))


def directory_of(template: Path, home: Path, key: str | None) -> dict[str, bytes]:
    """What a round's directory holds, after five accepted ones, with another value of one setting."""
    shutil.copytree(template, home)
    settings = settings_with(home, key)
    checkpoints = GenerationStore(settings.checkpoints_dir, clock=lambda: NOW)
    streams = [Stream(Partition(f"topic {number}", 0, "id")) for number in range(3)]
    with Store.open(settings.database, settings.memory, clock=lambda: NOW) as store:
        store.ask_for_held_out(40)
        before = Stream(Partition("before", 0))
        store.append(before.of([text(n) for n in range(900_000, 900_100)]), before_stream=True)
        for number in range(1, 6):
            arrive(store, streams, number)
            generation = accept(store, begin(store, number))
            checkpoints.publish(settings.model.path, generation, Card(generation, "causal-lm"))
        arrive(store, streams, 6)
        draw = store.rounds.begin(trigger="a test", recipe={}, seed=7, spec=draw_spec(settings))
        assert draw is not None
        rooms = Rooms(store, checkpoints, settings.rounds_dir)
        directory = rooms.round_dir(draw.number)
        write_inputs(directory, draw, BY_HAND, rooms, settings)
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.relative_to(directory).parts[0] not in (PARENT, BASE)
    }


@pytest.fixture(scope="module")
def unchanged(template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The directory of a round with the small settings."""
    return directory_of(template, tmp_path_factory.mktemp("unchanged") / "state", None)


def test_equal_settings_give_equal_directories(template: Path, tmp_path: Path, unchanged: dict[str, bytes]) -> None:
    """Without this nothing below would say anything."""
    assert directory_of(template, tmp_path / "state", None) == unchanged


@pytest.mark.parametrize("key", sorted(DEFAULTS.keys() - NOT_OF_A_ROUND.keys()))
def test_each_setting_reaches_the_rounds_directory(
    template: Path, tmp_path: Path, unchanged: dict[str, bytes], key: str
) -> None:
    """Budgets in what is drawn, the recipe in what the learner is told."""
    assert directory_of(template, tmp_path / "state", key) != unchanged


def test_what_is_no_setting_of_a_round_is_one_of_something_else() -> None:
    """A new setting is tried here, unless somebody says whose it is."""
    assert NOT_OF_A_ROUND.keys() < DEFAULTS.keys()
