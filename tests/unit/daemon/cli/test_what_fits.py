"""What `riverkeep init` writes where the usual settings would not fit; by a fake of nvidia-smi."""

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.cli.commands import setup
from daemon.doctor import proposal
from learner.process_settings import LearnerSettings
from tests.nvidia_smi import FakeGpu, put_on_path
from tests.unit.daemon.sizes.test_sequence_length import LLAMA_8B


@pytest.mark.parametrize("installed", [True, False])
def test_an_adapter_is_written_so_that_the_settings_accept_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, installed: bool
) -> None:
    """An 8B on an H200; what has to be installed for it is said."""
    put_on_path(tmp_path, monkeypatch, [FakeGpu("GPU-a", 140 * 1024, 143_771)])
    monkeypatch.setattr(proposal, "has_adapters", lambda: installed)
    monkeypatch.setattr(
        "daemon.sizes.model_shape.shape_of_files",
        lambda *_, device_type, **__: replace(LLAMA_8B, device_type=device_type),
    )
    recipe = tomllib.loads(setup._what_fits(tmp_path, "causal-lm"))["learner"]["recipe"]
    assert LearnerSettings.model_validate({"recipe": recipe}).recipe.adapter == "lora"
    assert ("pip install" in capsys.readouterr().err) is not installed
