"""What a person is told to install is there, and is enough."""

import re
import shlex
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from checkpoints.installing import pip_install
from tests.docs.test_docs import DEPLOYED, DOCUMENTS, ROOT, SOURCES

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINNED = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
# Read by transformers where a model needs it; no part of an installation.
FOR_SOME_MODELS = {"sentencepiece", "protobuf", "tiktoken", "pillow"}
# Of an environment of their own.
ENGINES = {"vllm"}
# What fsspec reaches one kind of object store with.
OBJECT_STORES = {"s3fs"}


def test_what_the_readme_installs_reads_gguf_files() -> None:
    """The example of the settings names such a file: no extra that nobody is told of."""
    base = {canonicalize_name(Requirement(each).name) for each in PROJECT["dependencies"]}
    assert {"gguf", "accelerate"} <= base
    assert "pip install . -c constraints.txt" in (ROOT / "README.md").read_text()


def test_a_build_of_torch_for_cpus_keeps_to_the_constraints() -> None:
    """As the README says: what was installed from another index is not installed again."""
    (torch,) = [each for each in PINNED if each.name == "torch"]
    (version,) = [each.version for each in torch.specifier]
    assert f"torch=={version} " in (ROOT / "README.md").read_text()
    assert torch.specifier.contains(f"{version}+cpu")


@pytest.mark.parametrize("file", [*DOCUMENTS, *DEPLOYED, *SOURCES], ids=lambda path: path.name)
def test_commands_that_install_name_what_is_there(file: Path) -> None:
    """This checkout with an extra that it has, or a package that is its dependency or one of a model's."""
    base = {canonicalize_name(Requirement(each).name) for each in PROJECT["dependencies"]}
    known = base | FOR_SOME_MODELS | ENGINES | OBJECT_STORES
    text = file.read_text()
    commands = re.findall(r"pip install((?: +[^`\n#:;)]+)?)", text)
    called = [
        " ".join(re.findall(r"[\"']([^\"']+)[\"']", call)) for call in re.findall(r"pip_install\(([^)]*)\)", text)
    ]
    for word in (word for command in [*commands, *called] for word in shlex.split(command)):
        if word.startswith(".["):
            assert set(word[2:-1].split(",")) <= PROJECT["optional-dependencies"].keys()
        elif re.fullmatch(r"[a-z][\w-]*(==[\w.]+)?", word):
            assert canonicalize_name(Requirement(word).name) in known


def test_a_command_installs_into_the_environment_that_runs() -> None:
    """And is quoted for a shell."""
    command = pip_install("-c", "constraints.txt", ".[demo]")
    assert shlex.split(command) == [sys.executable, "-m", "pip", "install", "-c", "constraints.txt", ".[demo]"]
    assert "'.[demo]'" in command
