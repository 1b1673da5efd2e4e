"""Settings that would open the door or cannot work are refused."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from serving.processes.settings import EngineProcessSettings, RemoteSettings
from serving.settings import ServingSettings
from serving.traffic.settings import CanarySettings


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


@pytest.mark.parametrize(
    ("engine", "process", "says"),
    [
        ("command", {}, "names no {model} and no {port}"),
        ("command", {"command": ("serve", "{model}")}, "names no {port}"),
        ("vllm", {"command": ("serve", "{model}", "{port}")}, 'is for engine = "command"'),
        ("builtin", {"arguments": ("--a",)}, "are for vllm and sglang"),
        ("command", {"command": ("{model}", "{port}"), "python": "/p"}, "are for vllm and sglang"),
        ("remote", {}, "remote.location is not set"),
    ],
)
def test_an_engine_is_told_what_it_takes_and_nothing_else(engine: str, process: dict[str, Any], says: str) -> None:
    """What is set for another engine would be passed over without a word."""
    with pytest.raises(ValidationError, match=re.escape(says)):
        ServingSettings(engine=engine, engine_process=EngineProcessSettings(**process))


def test_what_is_said_of_remote_engines_is_for_them_alone() -> None:
    """And their addresses are such."""
    with pytest.raises(ValidationError, match='remote is for engine = "remote"'):
        ServingSettings(remote=RemoteSettings(location="/m"))
    with pytest.raises(ValidationError, match=r"remote\.url engines:8000 is no address"):
        ServingSettings(engine="remote", remote=RemoteSettings(location="/m", url="engines:8000"))


@pytest.mark.parametrize("variable", ["A", "=b", ""])
def test_a_variable_has_a_name_and_a_value(variable: str) -> None:
    """One without would be passed over by the kernel."""
    with pytest.raises(ValidationError, match="NAME=value"):
        EngineProcessSettings(environment=(variable,))


def test_every_field_of_an_engines_process_is_explained() -> None:
    """As those above it are."""
    assert all(field.description for field in EngineProcessSettings.model_fields.values())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"engine": "vllm", "engine_process": {"two_at_once": False}}, "two_at_once is false"),
        ({"engine": "remote", "remote": {"location": "/shared"}}, "remote.url names no engine"),
        ({"enabled": False}, "set enabled = true"),
    ],
)
def test_a_canary_is_refused_where_it_could_not_be_watched(settings: dict[str, Any], says: str) -> None:
    """By name; with none the same settings are right."""
    with pytest.raises(ValidationError, match=re.escape(says)) as caught:
        ServingSettings(**settings, canary={"enabled": True})
    assert "canary.enabled" in str(caught.value)
    assert not ServingSettings(**settings).canary.enabled


@pytest.mark.parametrize(
    ("canary", "says"),
    [
        ({"share": 0.95}, "too little is left to compare with"),
        ({"deadline_seconds": 60}, "shorter than watch_seconds"),
        ({"sticky_header": "no header"}, "sticky_header"),
    ],
)
def test_a_canary_has_something_to_be_compared_with(canary: dict[str, Any], says: str) -> None:
    """And its watch ends after it began."""
    with pytest.raises(ValidationError, match=re.escape(says)):
        CanarySettings(**canary)


def test_every_field_of_a_canary_is_explained() -> None:
    """As those above it are."""
    assert all(field.description for field in CanarySettings.model_fields.values())
