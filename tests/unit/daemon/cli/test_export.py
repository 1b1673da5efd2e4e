"""`riverkeep export`: a generation as a model of its own."""

from pathlib import Path

from checkpoints.card import Card
from checkpoints.generation_store import GenerationStore
from daemon.exit_codes import ExitCode
from tests.command_line import riverkeep
from tests.unit.daemon.rooms import tiny_model


def test_a_whole_generation_is_copied_without_what_only_rounds_need(tmp_path: Path) -> None:
    """To where nothing is yet; what is not kept is named."""
    model = tiny_model(tmp_path / "model")
    (model / "importance").mkdir()
    (model / "importance" / "residuals.safetensors").write_bytes(b"rounding")
    (model / "importance" / "moments.safetensors").write_bytes(b"the optimizer")
    GenerationStore(tmp_path / "state" / "checkpoints").publish(model, 0, Card(0, "causal-lm"))
    (tmp_path / "riverkeep.toml").write_text('state_dir = "state"\n[model]\npath = "model"\n')
    run = riverkeep("export", "0", "out", cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"config.json", "model.safetensors"}
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
    again = riverkeep("export", "0", "out", cwd=tmp_path)
    assert again.returncode == ExitCode.FAILED
    assert "is there already" in again.stderr
    absent = riverkeep("export", "7", "other", cwd=tmp_path)
    assert absent.returncode == ExitCode.NOT_FOUND
    assert "There is no generation 7" in absent.stderr
