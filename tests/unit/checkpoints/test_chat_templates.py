"""A model's chat template is taken as it is meant, wherever and however it is kept; or it is refused by name."""

import json
import shutil
from pathlib import Path

import pytest

from checkpoints.base.prepare import import_base
from checkpoints.errors import UnusableModel
from checkpoints.generation_store import GenerationStore
from checkpoints.load import load_tokenizer

TEMPLATE = "{{ messages[0].content }}"


@pytest.fixture
def copied(causal: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may change."""
    return Path(shutil.copytree(causal, tmp_path / "copied"))


def keep(model: Path, template: object) -> None:
    """Keep a template among the tokenizer's settings."""
    path = model / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "chat_template": template}))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_an_editors_mark_is_no_part_of_a_template(store: GenerationStore, copied: Path, encoding: str) -> None:
    """Every prompt would begin with it."""
    (copied / "chat_template.jinja").write_bytes(TEMPLATE.encode(encoding))
    assert load_tokenizer(import_base(store, copied).path).chat_template == TEMPLATE


def test_a_template_of_the_processors_is_taken(store: GenerationStore, copied: Path) -> None:
    """Models that see keep it there; without it chats were written in plain lines."""
    (copied / "chat_template.json").write_text(json.dumps({"chat_template": TEMPLATE}))
    assert load_tokenizer(import_base(store, copied).path).chat_template == TEMPLATE


def test_the_tokenizers_own_template_goes_before(store: GenerationStore, copied: Path) -> None:
    """Both are kept by some."""
    (copied / "chat_template.json").write_text(json.dumps({"chat_template": "other"}))
    keep(copied, TEMPLATE)
    assert load_tokenizer(import_base(store, copied).path).chat_template == TEMPLATE


@pytest.mark.parametrize("wrong", [5, True, {"default": 5}, ["a"], [{"name": "x"}], [{"name": "x", "template": 5}]])
def test_a_template_that_is_no_text_is_refused(store: GenerationStore, copied: Path, wrong: object) -> None:
    """At the import, not at the first chat."""
    keep(copied, wrong)
    with pytest.raises(UnusableModel, match=r"tokenizer_config.json.* text.*; correct it, or leave it out") as caught:
        import_base(store, copied)
    assert "chat_template" in str(caught.value)


@pytest.mark.parametrize("wrong", [b"\xff", b"{{ \xe4 }}", b"\xff\xfe{"])
def test_a_file_that_is_no_text_is_named(store: GenerationStore, copied: Path, wrong: bytes) -> None:
    """It was told as a tokenizer of another source."""
    (copied / "chat_template.jinja").write_bytes(wrong)
    with pytest.raises(UnusableModel, match=r"chat_template.jinja is no text in UTF-8"):
        import_base(store, copied)
