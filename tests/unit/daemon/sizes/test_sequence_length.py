"""How long sequences are where nobody says so: as documents ask for, the model allows and memory holds; chosen once."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checkpoints.base.prepare import import_base
from checkpoints.errors import UnusableModel
from checkpoints.generation_store import GenerationStore
from checkpoints.sequence_length import LENGTH_FILE, SequenceLength, read_length, write_length
from daemon.assembly.rooms import TakeUp
from daemon.doctor.how_it_learns import describe_learning
from daemon.rounds.directories import Rooms
from daemon.settings.in_force import SettingsInForce
from daemon.settings.load import load
from daemon.settings.tree import ModelSettings, Settings, with_length
from daemon.sizes.estimate import GIB, SHORTEST, training_bytes
from daemon.sizes.sequence_length import SET, decide_length, length_of
from daemon.sizes.shape import ModelShape
from learner.process_settings import LearnerSettings
from learner.settings import RecipeSettings
from memory.store import Store
from tests.models import make_causal

SMOLLM2 = ModelShape(
    parameters=134_515_008,
    stored_bytes=269_030_016,
    outputs=49_152,
    by_token=True,
    hidden=576,
    inner=1536,
    heads=9,
    layers=30,
    positions=8192,
    compute_bytes=4,
    device_type="cpu",
)
LLAMA_1B = replace(
    SMOLLM2,
    parameters=1_235_814_400,
    stored_bytes=2_471_628_800,
    outputs=128_256,
    hidden=2048,
    inner=8192,
    heads=32,
    layers=16,
    positions=131_072,
    compute_bytes=2,
    device_type="cuda",
)
LLAMA_8B = replace(
    LLAMA_1B, parameters=8_030_261_248, stored_bytes=16_060_522_496, hidden=4096, inner=14_336, layers=32
)


def settings(home: Path, **recipe: object) -> Settings:
    """Of a state in `home`."""
    return Settings(
        state_dir=home / "state",
        model=ModelSettings(path=home / "model"),
        learner=LearnerSettings(device="cpu", recipe=RecipeSettings(**recipe)),
    )


def learning(shape: ModelShape, recipe: RecipeSettings, free_gib: int) -> str:
    """What the doctor says of a model with so much memory free."""
    chosen = decide_length(shape, recipe, free_gib * GIB, None)
    given = Settings(model=ModelSettings(path=Path("model")), learner=LearnerSettings(recipe=recipe))
    return describe_learning(with_length(given, chosen.tokens), shape, chosen)


def test_a_model_of_each_size_is_told_in_a_line_what_it_gets_and_why() -> None:
    """A small one on a laptop, one of a billion and, with an adapter, one of eight on a GPU of 80 GB."""
    assert learning(SMOLLM2, RecipeSettings(), 16) == (
        "sequences of 1,024 tokens, which is usual for documents of which nothing is known yet, on a CPU; 30 of them "
        "a step; all weights are trained; "
        "learning rate 0.0001 at its peak for 134.5 million parameters: a tenth of 0.001, near which the peak "
        "of Pythia-160M, OPT-125M (both below) and SmolLM-135M (above) lay in pre-training"
    )
    assert learning(LLAMA_1B, RecipeSettings(), 78) == (
        "sequences of 2,048 tokens, which is usual for documents of which nothing is known yet, on a GPU; 15 of them "
        "a step; all weights are trained, which of so many takes far more memory than an adapter does: "
        '`learner.recipe.adapter = "lora"`; '
        "learning rate 2e-05 at its peak for 1.2 billion parameters: a tenth of 0.0002, near which the peak "
        "of OPT-1.3B and Pythia-1.4B lay in pre-training"
    )
    assert learning(LLAMA_8B, RecipeSettings(adapter="lora"), 78) == (
        "sequences of 2,048 tokens, which is usual for documents of which nothing is known yet, on a GPU; 15 of them "
        "a step; LoRA of rank 16 is trained beside the weights; "
        "learning rate 0.00012 at its peak for 8.0 billion parameters: a tenth of 0.00012, near which the "
        "peak of OPT-6.7B and Pythia-6.9B lay in pre-training, times 10 for an adapter"
    )


def test_where_memory_is_short_sequences_are() -> None:
    """Of a billion parameters in 26 GiB."""
    assert decide_length(LLAMA_1B, RecipeSettings(), 26 * GIB, None) == SequenceLength(
        1024, "as a round with 2,048 does not fit into 26.0 GiB of GPU memory"
    )


@pytest.mark.parametrize(("mean", "tokens"), [(20, 512), (200, 512), (257, 1024), (900, 2048), (5000, 4096)])
def test_known_documents_decide(mean: float, tokens: int) -> None:
    """Most are read whole; short ones are packed, and the longest cost too much."""
    assert decide_length(LLAMA_1B, RecipeSettings(), 10**15, mean).tokens == tokens


def test_no_sequence_is_longer_than_the_model_allows() -> None:
    """Whatever the documents are."""
    chosen = decide_length(replace(SMOLLM2, positions=300), RecipeSettings(), 10**15, 900)
    assert chosen == SequenceLength(300, "which is the most that the model allows")


@given(free=st.integers(0, 64 * GIB), mean=st.none() | st.floats(1, 10_000))
def test_what_is_chosen_fits_with_one_row_or_nothing_does(free: int, mean: float | None) -> None:
    """Where not even a short one fits, the length is not what is too large."""
    recipe = RecipeSettings()
    chosen = decide_length(SMOLLM2, recipe, free, mean)

    def fits(tokens: int) -> bool:
        return training_bytes(SMOLLM2, recipe.of_length(tokens).model_copy(update={"micro_batch": 1})) <= free

    assert fits(chosen.tokens) or not fits(SHORTEST)
    assert fits(chosen.tokens) or chosen.tokens == decide_length(SMOLLM2, recipe, 10**15, mean).tokens


def test_longer_sequences_are_fewer_where_their_number_is_left_out_too() -> None:
    """A step and a pass have as many tokens as before; what is set stands, and of short ones there are no more."""
    chosen = RecipeSettings().of_length(2048)
    assert (chosen.length, chosen.batch_sequences, chosen.micro_batch) == (2048, 15, 4)
    named = RecipeSettings(batch_sequences=60, micro_batch=8).of_length(2048)
    assert (named.batch_sequences, named.micro_batch) == (60, 8)
    short = RecipeSettings().of_length(128)
    assert (short.length, short.batch_sequences, short.micro_batch) == (128, 60, 16)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings that name no length; the model is there."""
    make_causal(tmp_path / "model")
    file = tmp_path / "riverkeep.toml"
    file.write_text('state_dir = "state"\n[model]\npath = "model"\n')
    return file


def make_base(home: Path, length: SequenceLength | None) -> Path:
    """Generation 0 of a state in `home`."""
    store = GenerationStore(home / "state" / "checkpoints")
    return import_base(store, home / "model", length=length).path


def read(file: Path) -> RecipeSettings:
    """The recipe that a file's settings have."""
    return load(file, {}).learner.recipe


def test_a_state_of_an_earlier_version_keeps_what_it_had(config: Path) -> None:
    """Its scores were taken in sequences of 512."""
    assert read(config).sequence_length is None
    make_base(config.parent, None)
    recipe = read(config)
    assert (recipe.sequence_length, recipe.batch_sequences, recipe.micro_batch) == (512, 60, 16)
    assert "incomparable" in length_of(load(config, {}), None).why


def test_what_was_chosen_is_kept_whatever_memory_there_is_later(config: Path) -> None:
    """It lies with generation 0; a length that is set wins over it."""
    chosen = SequenceLength(1024, "because")
    base = make_base(config.parent, chosen)
    assert read_length(base) == chosen == length_of(load(config, {}), None)
    assert (read(config).length, read(config).batch_sequences) == (1024, 30)
    config.write_text(config.read_text() + "[learner.recipe]\nsequence_length = 64\n")
    assert (read(config).length, read(config).batch_sequences) == (64, 60)
    assert length_of(load(config, {}), None) == SequenceLength(64, SET)


def test_a_service_takes_it_over_when_its_base_is_there(config: Path) -> None:
    """Its settings were read before; a reload finds nothing changed."""
    in_force = SettingsInForce(load(config, {}))
    make_base(config.parent, SequenceLength(256, "because"))
    in_force.complete()
    assert in_force.now.learner.recipe.length == 256
    assert in_force.take(load(config, {})).changed == ()


@pytest.mark.slow
def test_the_first_start_chooses_and_the_second_keeps(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model bears 256 tokens; what it would bear later changes nothing."""
    in_force, told = SettingsInForce(load(config, {})), list[str]()
    settings = in_force.now
    settings.state_dir.mkdir()
    with Store.open(settings.database, settings.memory) as store:
        rooms = Rooms(store, GenerationStore(settings.checkpoints_dir), settings.rounds_dir)
        start = TakeUp(rooms, in_force, os.environ, tell=told.append, must_stop=lambda: False)
        start()
        assert in_force.now.learner.recipe.length == 256
        monkeypatch.setattr("daemon.sizes.round_memory.free_bytes", lambda: 0)
        start()
    assert read_length(settings.base_dir) == SequenceLength(256, "which is the most that the model allows")
    assert read(config).length == 256


def test_what_another_state_chose_is_not_taken_over(config: Path) -> None:
    """A model may be a generation of one."""
    write_length(config.parent / "model", SequenceLength(64, "elsewhere"))
    assert LENGTH_FILE not in {file.name for file in make_base(config.parent, None).iterdir()}


def test_a_file_that_is_damaged_is_named(config: Path) -> None:
    """By who asks for it; settings can be read all the same."""
    base = make_base(config.parent, SequenceLength(256, "because"))
    (base / LENGTH_FILE).write_text("{")
    assert read(config).sequence_length is None
    with pytest.raises(UnusableModel, match=LENGTH_FILE):
        read_length(base)


def test_before_there_is_a_base_it_is_foretold(tmp_path: Path) -> None:
    """By the model's files, where these tell its size."""
    assert length_of(settings(tmp_path), None) == SequenceLength(512, "as the model's files do not tell its size")
    make_causal(tmp_path / "model", context=256)
    assert length_of(settings(tmp_path), None) == SequenceLength(256, "which is the most that the model allows")
