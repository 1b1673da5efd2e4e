"""Whether chats are taken, and what is said of it before anything is read."""

from pathlib import Path

import pytest

from daemon.doctor.notes import notes
from daemon.settings.load import load
from daemon.settings.mistakes import BadSettings
from daemon.settings.records import (
    OF_A_CLASSIFIER,
    OF_A_MASKED_LM,
    OF_PAIRS,
    WITHOUT_TEMPLATE,
    needed_of_records,
    record_needs,
    why_no_chats,
)
from daemon.settings.tree import Settings
from streams.decoding.needs import RecordNeeds


def settings_for(path: Path, kind: str = "causal-lm", **topic: str) -> Settings:
    """Settings with a model that lies below a path."""
    return Settings.model_validate(
        {
            "state_dir": str(path / "state"),
            "model": {"path": str(path / "model"), "kind": kind},
            "streams": {"topics": [{"name": "chats", **topic}]},
        }
    )


def test_a_language_model_needs_a_template(tmp_path: Path) -> None:
    """Before it is there nobody can tell, and nothing is refused; the base speaks for a model that is gone."""
    settings = settings_for(tmp_path)
    assert why_no_chats(settings) == ""
    settings.model.path.mkdir()
    assert why_no_chats(settings) == WITHOUT_TEMPLATE
    assert "chat_not_taken" in needed_of_records(settings)
    settings.base_dir.mkdir(parents=True)
    (settings.base_dir / "chat_template.jinja").write_text("{{ messages }}")
    assert why_no_chats(settings) == ""
    assert "a chat (messages)" in needed_of_records(settings)


def test_a_classifier_takes_no_chats(tmp_path: Path) -> None:
    """Whatever its tokenizer has."""
    settings = settings_for(tmp_path, "classifier")
    assert why_no_chats(settings) == OF_A_CLASSIFIER
    assert "label" in needed_of_records(settings)


def test_a_masked_model_takes_texts(tmp_path: Path) -> None:
    """And no chats, whatever its tokenizer has."""
    settings = settings_for(tmp_path, "masked-lm")
    assert why_no_chats(settings) == OF_A_MASKED_LM
    assert needed_of_records(settings).startswith("each needs a text; chats (messages) become dead letters")


def test_a_sequence_to_sequence_model_takes_pairs(tmp_path: Path) -> None:
    """Of an input and its target, and nothing else; which the decoder is told."""
    settings = settings_for(tmp_path, "seq2seq")
    assert why_no_chats(settings) == OF_PAIRS
    assert needed_of_records(settings).startswith("each needs an input (input_field) and its target (target_field)")
    assert record_needs(settings) == RecordNeeds(no_chats=OF_PAIRS, pairs=True)
    assert record_needs(settings_for(tmp_path)) == RecordNeeds()


def test_plain_text_has_no_pairs(tmp_path: Path) -> None:
    """Every record of such a topic would be a dead letter: `check` says so before one comes."""
    (tmp_path / "model").mkdir()
    config = tmp_path / "riverkeep.toml"
    lines = f'[model]\npath = "{tmp_path / "model"}"\nkind = "seq2seq"\n[[streams.topics]]\nname = "a"\n'
    config.write_text(lines)
    load(config, {}, files=True)
    config.write_text(f'{lines}format = "text"\n')
    with pytest.raises(BadSettings) as caught:
        load(config, {}, files=True)
    (mistake,) = caught.value.mistakes
    assert mistake.in_line().startswith("streams.topics[0].format")
    assert "input_field" in mistake.in_line()


def test_a_field_that_nothing_is_taken_of_is_noted(tmp_path: Path) -> None:
    """Where it is set: where none is, a record may still have messages."""
    (tmp_path / "model").mkdir()
    assert any("messages_field is set for chats" in note for note in notes(settings_for(tmp_path, messages_field="m")))
    assert not any("messages_field" in note for note in notes(settings_for(tmp_path)))
