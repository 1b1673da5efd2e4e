"""Settings that would open the door or cannot work are refused."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from serving.settings import ServingSettings


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_it_does_not_listen_beyond_loopback_without_a_key(host: str) -> None:
    """The error says the three ways out."""
    with pytest.raises(ValidationError, match="api_key_file") as caught:
        ServingSettings(host=host)
    assert "insecure = true" in str(caught.value)
    assert "127.0.0.1" in str(caught.value)


def test_a_key_or_a_persons_word_opens_the_door(tmp_path: Path) -> None:
    """With a key file, or told that it may, it listens anywhere."""
    assert ServingSettings(host="0.0.0.0", api_key_file=tmp_path / "key").host == "0.0.0.0"
    assert ServingSettings(host="0.0.0.0", insecure=True).insecure


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    """On the machine itself anyone may ask."""
    assert ServingSettings(host=host).api_key_file is None


def test_every_field_is_explained() -> None:
    """The reference configuration prints these descriptions."""
    assert all(field.description for field in ServingSettings.model_fields.values())


def test_unknown_keys_are_refused() -> None:
    """A typo is an error, not a default."""
    with pytest.raises(ValidationError, match="prot"):
        ServingSettings(prot=1)  # type: ignore[call-arg]  # the mistake


def test_the_default_answer_is_within_the_limit() -> None:
    """Two settings that contradict each other are refused."""
    with pytest.raises(ValidationError, match="default_new_tokens"):
        ServingSettings(max_new_tokens=10)
