"""How engines are started: what they are told, and what nobody else is to read."""

import sys
from pathlib import Path

from serving.processes.launch import KEY_VARIABLE, WantedEngine, launch_of, served_name
from serving.settings import EngineProcessSettings, ServingSettings

WANTED = WantedEngine(Path("/g/000007"), "riverkeep@g0007", 4711, "a-key")


def test_vllm_is_closed_and_knows_its_generation() -> None:
    """Its name, its place and its share; the key where no list of processes shows it; no routes of development."""
    process = EngineProcessSettings(
        python=Path("/v/python"), arguments=("--enforce-eager",), environment=("A=b=c", "VLLM_SERVER_DEV_MODE=1")
    )
    settings = ServingSettings(engine="vllm", max_batch=3, engine_process=process)
    launch = launch_of(settings, WANTED, {"PATH": "/bin", "VLLM_SERVER_DEV_MODE": "1"})
    text = " ".join(launch.arguments)
    assert text.startswith("/v/python -m vllm.entrypoints.openai.api_server --model /g/000007 ")
    for said in ("--served-model-name riverkeep@g0007", "--host 127.0.0.1 --port 4711", "--max-num-seqs 3"):
        assert said in text
    assert launch.arguments[-1] == "--enforce-eager"
    assert WANTED.key not in text
    assert launch.environment["VLLM_API_KEY"] == WANTED.key
    assert launch.environment["VLLM_SERVER_DEV_MODE"] == "0"
    assert (launch.environment["PATH"], launch.environment["A"]) == ("/bin", "b=c")


def test_vllm_is_of_this_environment_where_no_other_is_named() -> None:
    """By its interpreter, not by a command that PATH finds."""
    assert launch_of(ServingSettings(engine="vllm"), WANTED, {}).arguments[0] == sys.executable


def test_a_command_gets_its_places_and_keeps_its_braces() -> None:
    """Arguments may hold JSON; a place may stand within one."""
    command = ("serve", "--model={model}", '{"a": {}}', "{name}", "{host}:{port}", "{other}")
    process = EngineProcessSettings(command=command)
    launch = launch_of(ServingSettings(engine="command", engine_process=process), WANTED, {})
    filled = ("serve", "--model=/g/000007", '{"a": {}}', "riverkeep@g0007", "127.0.0.1:4711", "{other}")
    assert launch.arguments == filled
    assert launch.environment == {KEY_VARIABLE: "a-key"}


def test_no_two_generations_have_one_name() -> None:
    """Nor has one of ten thousand that of another."""
    names = {served_name("m", number) for number in (1, 11, 1001, 10_001, 100_011)}
    assert len(names) == 5
