"""Completion in a real bash, at a real terminal."""

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.command_line import riverkeep, surroundings

PATIENCE_S = 60.0


def read_until(terminal: int, words: bytes) -> bytes:
    """What a terminal shows until these words are there."""
    shown, deadline = b"", time.monotonic() + PATIENCE_S
    while words not in shown:
        assert select.select([terminal], [], [], max(0.0, deadline - time.monotonic()))[0], shown
        shown += os.read(terminal, 4096)
    return shown


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """A folder with `riverkeep` and its script for bash in it."""
    command = tmp_path / "riverkeep"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m daemon "$@"\n')
    command.chmod(0o755)
    (tmp_path / "completion.bash").write_text(riverkeep("completion", "bash", cwd=tmp_path).stdout)
    return tmp_path


def test_bash_completes_commands_and_their_words(bin_folder: Path) -> None:
    """A command, a subcommand and an option, each at one press of the key."""
    ours, theirs = pty.openpty()
    variables = {"PATH": f"{bin_folder}:{os.environ['PATH']}", "PS1": "ready> ", "TERM": "dumb"}
    command = ["bash", "--noprofile", "--norc", "-i"]
    shell = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=surroundings(variables))
    try:
        os.write(ours, f"source {bin_folder}/completion.bash\n".encode())
        read_until(ours, b"completion.bash\r\nready> ")
        for typed, completed in ((b"riverkeep expl", b"explain "), (b"rou", b"round "), (b"--js", b"--json ")):
            os.write(ours, typed + b"\t")
            read_until(ours, completed)
    finally:
        shell.kill()
        shell.wait()
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize(("shell", "word"), [("bash", "complete -o"), ("zsh", "#compdef"), ("fish", "complete --no")])
def test_each_shell_has_its_script(tmp_path: Path, shell: str, word: str) -> None:
    """It names the command and asks it."""
    script = riverkeep("completion", shell, cwd=tmp_path).stdout
    assert word in script
    assert f"_RIVERKEEP_COMPLETE={shell}_complete" in script
