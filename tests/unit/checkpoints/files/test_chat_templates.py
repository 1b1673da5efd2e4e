"""Whether a model has a chat template is told by its files."""

from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from checkpoints.errors import UnusableModel
from checkpoints.files.chat_templates import has_chat_template
from checkpoints.load import load_tokenizer
from tests.models import make_tokenizer


@pytest.mark.parametrize("template", ["{{ messages }}", {"default": "{{ messages }}"}, {"tools": "{{ messages }}"}])
def test_a_template_is_found_where_transformers_writes_it(tmp_path: Path, template: object) -> None:
    """One, or several by name."""
    tokenizer: PreTrainedTokenizerBase = make_tokenizer()
    tokenizer.save_pretrained(tmp_path)
    assert not has_chat_template(tmp_path)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(tmp_path)
    assert has_chat_template(tmp_path)


def test_a_template_is_found_within_the_configuration(tmp_path: Path) -> None:
    """As older repositories have it."""
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    assert has_chat_template(tmp_path)


def test_a_template_of_the_processor_is_found_where_loading_takes_it(tmp_path: Path) -> None:
    """A text-only copy of a model that sees has its template in that file alone; what is told is what is loaded."""
    make_tokenizer().save_pretrained(tmp_path)
    (tmp_path / "chat_template.json").write_text('{"chat_template": "{{ messages }}"}')
    assert load_tokenizer(tmp_path).chat_template == "{{ messages }}"
    assert has_chat_template(tmp_path)
    (tmp_path / "chat_template.json").write_text("{}")
    assert not load_tokenizer(tmp_path).chat_template
    assert not has_chat_template(tmp_path)


def test_no_files_are_no_template(tmp_path: Path) -> None:
    """And a damaged one is named."""
    assert not has_chat_template(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(UnusableModel, match="tokenizer_config"):
        has_chat_template(tmp_path)
