"""How engines are started: what they are told, and what nobody else is to read."""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from serving.processes.launch import KEY_VARIABLE, WantedEngine, launch_of, served_name
from serving.processes.settings import Engine, EngineProcessSettings
from serving.settings import PROBES_KEY_VARIABLE, ServingSettings
from tests.nvidia_smi import FakeGpu, put_on_path

COMMAND = EngineProcessSettings(command=("program", "{model}", "{port}"))
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
    assert "--generation-config vllm" in text
    assert launch.arguments[-1] == "--enforce-eager"
    assert WANTED.key not in text
    assert launch.environment["VLLM_API_KEY"] == WANTED.key
    assert launch.environment["VLLM_SERVER_DEV_MODE"] == "0"
    assert (launch.environment["PATH"], launch.environment["A"]) == ("/bin", "b=c")


def test_vllm_is_of_this_environment_where_no_other_is_named() -> None:
    """By its interpreter, not by a command that PATH finds."""
    assert launch_of(ServingSettings(engine="vllm"), WANTED, {}).arguments[0] == sys.executable


def test_sglang_finds_its_key_in_a_file_and_nowhere_else() -> None:
    """As it takes none from its environment; further arguments come last, and so win."""
    process = EngineProcessSettings(python=Path("/s/python"), arguments=("--mem-fraction-static", "0.4"))
    settings = ServingSettings(engine="sglang", max_batch=3, engine_process=process)
    launch = launch_of(settings, replace(WANTED, file=Path("/home/7.json")), {"PATH": "/bin"})
    told = json.loads(launch.content)
    assert launch.arguments[:5] == ("/s/python", "-m", "sglang.launch_server", "--config", "/home/7.json")
    assert launch.arguments[5:] == ("--mem-fraction-static", "0.4")
    assert told["api-key"] == WANTED.key
    assert WANTED.key not in " ".join((*launch.arguments, *launch.environment.values()))
    assert (told["model-path"], told["served-model-name"]) == ("/g/000007", "riverkeep@g0007")
    assert (told["host"], told["port"], told["max-running-requests"]) == ("127.0.0.1", 4711, 3)
    assert told["sampling-defaults"] == "openai"


@pytest.mark.parametrize(
    ("engine", "option"), [("vllm", "--gpu-memory-utilization"), ("sglang", "--mem-fraction-static")]
)
def test_on_a_gpu_each_of_two_engines_takes_less_than_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str, option: str
) -> None:
    """As either would take most of it and leave the next one none; a fake of nvidia-smi tells of the GPU."""

    def told(environ: Mapping[str, str], **process: object) -> str:
        settings = ServingSettings.model_validate({"engine": engine, "engine_process": process})
        return " ".join(launch_of(settings, replace(WANTED, file=tmp_path / "told.json"), environ).arguments)

    put_on_path(tmp_path, monkeypatch, [FakeGpu("GPU-a", 80_000)])
    assert f" {option} 0.45" in told({})
    assert option not in told({}, two_at_once=False)
    assert option not in told({"CUDA_VISIBLE_DEVICES": ""})
    assert option not in told({}, environment=("CUDA_VISIBLE_DEVICES=",))
    for arguments in ((option, "0.3"), (f"{option}=0.3",), (f"--{option[2:].replace('-', '_')}", "0.3")):
        assert "0.45" not in told({}, arguments=arguments)
    (tmp_path / "nvidia-smi").unlink()
    assert option not in told({})


def test_adapters_are_taken_only_by_an_engine_that_was_begun_for_them() -> None:
    """The routes that take them are closed in every other."""
    settings = ServingSettings(engine="vllm")
    plain = launch_of(settings, WANTED, {})
    wide = launch_of(settings, replace(WANTED, adapter_rank=64), {})
    assert "--enable-lora" not in plain.arguments
    assert " --enable-lora --max-lora-rank 64 " in " ".join(wide.arguments)
    allowed = "VLLM_ALLOW_RUNTIME_LORA_UPDATING"
    assert (plain.environment[allowed], wide.environment[allowed]) == ("0", "1")


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


@pytest.mark.parametrize("engine", ["vllm", "sglang", "command"])
def test_no_engine_inherits_what_this_service_was_told(engine: Engine) -> None:
    """Settings may come from the environment, with passwords of brokers and of the store; the rest is passed on."""
    settings = ServingSettings(
        engine=engine, engine_process=COMMAND if engine == "command" else EngineProcessSettings()
    )
    kept = {"PATH": "/bin", "HTTPS_PROXY": "http://proxy", "OWNED_BY_RIVERKEEP_AT": "/state"}
    own = {
        "RIVERKEEP_STREAMS__KAFKA__SASL_PASSWORD": "secret",
        "riverkeep_memory__url": "postgresql://user:secret@store",
        "RIVERKEEP_ENGINE_KEY": "secret of another",
        PROBES_KEY_VARIABLE: "secret",
        "NOTIFY_SOCKET": "/secret",
    }
    environment = launch_of(settings, replace(WANTED, file=Path("/home/7.json")), {**kept, **own}).environment
    assert kept.items() <= environment.items()
    assert not [value for value in environment.values() if "secret" in value]
