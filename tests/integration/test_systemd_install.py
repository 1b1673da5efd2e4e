"""The steps by which Riverkeep is put under systemd, as docs/operations.md and the unit have them, word for word.

They are followed below a folder that stands for the root, and what runs as the service's user has no rights. Systemd is
not there to start the unit: its directories, credentials and environment are made by this file, as the unit says them.
"""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from daemon.settings.fields import walk
from daemon.settings.tree import Settings
from tests.integration.test_wheel import BESIDE, ROOMS
from tests.models import make_causal
from tests.tutorials import command_blocks
from tests.unproven import SYSTEMD, program

ROOT: Final = Path(__file__).parents[2]
UNIT: Final = ROOT / "deploy" / "riverkeep.service"
PAGE: Final = (ROOT / "docs" / "operations.md").read_text()
LONGEST_S: Final = 120
NOBODY: Final = 65534
PLACES: Final = ("/opt/riverkeep", "/usr/lib/sysusers.d", "/etc/systemd/system/", "/etc/riverkeep", "/etc/credstore")
STATE: Final = "/var/lib/riverkeep"
CREDENTIALS: Final = "/run/credentials/riverkeep.service"
NO_SECRETS: Final = {
    "serving.api_key_file": "hashes of keys, which the service reads anew by itself",
    "serving.tls_cert_file": "a certificate",
    "admin.tls_cert_file": "a certificate",
    "serving.tls_client_ca_file": "certificates",
    "admin.tls_client_ca_file": "certificates",
    "streams.security.ca_file": "certificates",
    "streams.security.certificate_file": "a certificate",
    "streams.schema_registry.ca_file": "certificates",
    "jobs.template_file": "a Job",
}
"""Settings that name a file for which systemd needs no credential, with the reason."""


def part(heading: str) -> str:
    """A part of the page."""
    return PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def commands(heading: str) -> str:
    """The only block of commands of a part."""
    (block,) = command_blocks(part(heading))
    return block.commands


def values(key: str) -> list[str]:
    """All that the unit says under a key, word by word."""
    return [word for line in re.findall(rf"^{key}=(.*)$", UNIT.read_text(), re.MULTILINE) for word in line.split()]


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine to install on, below a folder.

    Attributes:
        root: stands for `/`.
        user: as whom the service runs there: a number, and of its group the same.
    """

    root: Path
    user: int

    def here(self, text: str) -> str:
        """What is written, with this folder's places for the machine's."""
        for place in (*PLACES, STATE, CREDENTIALS):
            text = re.sub(rf"(?<![\w/.-]){re.escape(place)}", str(self.root) + place, text)
        return text

    def follow(self, heading: str, cwd: Path) -> str:
        """Run a part's commands in one shell, as root would; returns what they print, and systemctl's calls."""
        text = self.here(commands(heading)).replace("-o riverkeep -g riverkeep", f"-o {self.user} -g {self.user}")
        # What a person answers whom it asks.
        text = re.sub(r"(riverkeep init \S+)", rf"\1 --model {self.root}/models/my-model", text)
        done = subprocess.run(
            [shutil.which("bash") or "bash", "-c", f"set -e\n{text}"],
            cwd=cwd,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=LONGEST_S,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        return done.stdout

    def _environment(self) -> Mapping[str, str]:
        """Pip finds here what it would download; `systemctl`, `sudo` and `systemd-sysusers` stay below the folder."""
        tools = self.root / "tools"
        tools.mkdir(exist_ok=True)
        here = f"--root={self.root}"
        scripts = {
            "systemctl": f'echo "systemctl $*"; [ "$1" != enable ] || exec {_path("systemctl")} {here} enable "$3"',
            "systemd-sysusers": f"exec {_path('systemd-sysusers')} {here}",
            "sudo": f'[ "$1 $2" = "-u riverkeep" ]; shift 2; {" ".join(_as_user(self.user))} "$@"',
        }
        for name, script in scripts.items():
            (tools / name).write_text(f"#!/bin/sh\nset -e\n{script}\n")
            (tools / name).chmod(0o755)
        return {
            "PATH": f"{tools}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": _packages(),
            "PIP_NO_INDEX": "1",
            "PIP_NO_DEPS": "1",
            # Of this option alone pip takes a no for a yes.
            "PIP_NO_BUILD_ISOLATION": "0",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
        }

    def unit_runs(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command of Riverkeep with the unit's directories, user and environment, and nothing else."""
        for key, parent in (("StateDirectory", "var/lib"), ("CacheDirectory", "var/cache")):
            folder = self.root / parent / values(key)[0]
            folder.mkdir(parents=True, exist_ok=True, mode=int(values(f"{key}Mode")[0], 8))
            os.chown(folder, self.user, self.user)
        (program_,) = {word for word in values("ExecStart") if word.startswith("/")}
        environment = dict(word.partition("=")[::2] for word in values("Environment"))
        return subprocess.run(
            [*_as_user(self.user), self.here(program_), *arguments],
            cwd="/",
            env={name: self.here(value) for name, value in environment.items()} | {"PYTHONPATH": _packages()},
            capture_output=True,
            text=True,
            check=False,
            timeout=LONGEST_S,
        )

    def give_credentials(self) -> None:
        """As systemd does: of the names that the unit has, those that lie in the store, for its user alone."""
        folder = self.root / CREDENTIALS[1:]
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o500)
        for name in values("LoadCredential"):
            if (kept := self.root / "etc/credstore" / name).exists():
                shutil.copyfile(kept, folder / name)
                (folder / name).chmod(0o400)
                os.chown(folder / name, self.user, self.user)
        os.chown(folder, self.user, self.user)


def _path(name: str) -> str:
    return program(name, SYSTEMD)


def _packages() -> str:
    """Where this environment keeps what Riverkeep needs; not Riverkeep itself, which is installed there as a link."""
    return str(next(path for path in sys.path if path.endswith("site-packages")))


def _as_user(user: int) -> list[str]:
    if os.getuid() == user:
        return []
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]


@pytest.fixture(scope="module")
def checkout() -> Iterator[Path]:
    """A copy of this one, for an installation leaves its traces in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for room in ROOMS:
            shutil.copytree(ROOT / room, folder / room, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        for file in (*BESIDE, "constraints.txt", "riverkeep.toml"):
            shutil.copy(ROOT / file, folder / file)
        yield folder


@pytest.fixture(scope="module")
def machine(checkout: Path) -> Iterator[Machine]:
    """One on which the page's steps were followed, with a model that its user can read."""
    _path("systemd-sysusers")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        # Not pytest's: those can be entered by who runs the tests alone.
        root.chmod(0o755)
        made = Machine(root, NOBODY if os.getuid() == 0 else os.getuid())
        for folder in ("usr/lib/sysusers.d", "etc/systemd/system", "models", "var/lib", "opt"):
            (root / folder).mkdir(parents=True)
        make_causal(root / "models" / "my-model")
        for path in (root / "models").rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        printed = made.follow("Install", checkout)
        assert "systemctl enable --now riverkeep" in printed
        yield made


def kept_in(machine: Machine) -> Path:
    """Where the service would keep its state, by its own word."""
    checked = machine.unit_runs("check")
    assert checked.returncode == 0, checked.stderr
    told = re.search(r"state is kept in (.+)\.$", checked.stdout, re.MULTILINE)
    assert told is not None, checked.stdout
    return Path(told[1])


def test_the_unit_has_the_steps_of_the_page() -> None:
    """Two lists of the same steps would grow apart."""
    head = UNIT.read_text().partition("\n[Unit]\n")[0]
    steps = re.findall(r"^#   (.+)$", head.partition("\n#\n# Commands that write")[0], re.MULTILINE)
    assert steps == commands("Install").splitlines()


def test_the_steps_lead_to_a_service_that_keeps_its_state_where_systemd_lets_it(
    machine: Machine, checkout: Path
) -> None:
    """In its StateDirectory, which its user can write, after the installation and after an upgrade."""
    state = machine.root / "var/lib" / values("StateDirectory")[0]
    assert kept_in(machine) == state
    doctor = machine.unit_runs("doctor", "--skip-model", "--json")
    found = {finding["name"]: finding for finding in json.loads(doctor.stdout)}
    assert found["state directory"]["ok"], found["state directory"]
    links = [path.name for path in (machine.root / "etc/systemd/system/multi-user.target.wants").iterdir()]
    assert links == ["riverkeep.service"]
    assert re.search(r"^riverkeep:.*:/var/lib/riverkeep:", (machine.root / "etc/passwd").read_text(), re.MULTILINE)

    settings = (machine.root / "etc/riverkeep/riverkeep.toml").read_text()
    assert "systemctl restart riverkeep" in machine.follow("Upgrade", checkout)
    assert (machine.root / "etc/riverkeep/riverkeep.toml").read_text() == settings
    assert kept_in(machine) == state


def test_a_secret_in_the_credential_store_is_what_the_settings_read(machine: Machine, checkout: Path) -> None:
    """By the page's own commands and settings, with a file that the service's user may not read itself."""
    machine.follow("Secrets", checkout)
    kept = machine.root / "etc/credstore/riverkeep.admin-token"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    (block,) = re.findall(r"^```toml\n(.*?)^```$", part("Secrets"), re.DOTALL | re.MULTILINE)
    settings = machine.root / "etc/riverkeep/riverkeep.toml"
    before = settings.read_text()
    settings.write_text(f"{before}\n{machine.here(block)}")
    try:
        shutil.rmtree(machine.root / CREDENTIALS[1:], ignore_errors=True)
        without = machine.unit_runs("check")
        assert without.returncode == 2
        assert "admin.token_file" in without.stderr
        machine.give_credentials()
        assert kept_in(machine).name == "riverkeep"
        shown = json.loads(machine.unit_runs("config", "show", "--json").stdout)["settings"]
        (named,) = (each["value"] for each in shown if each["key"] == "admin.token_file")
        assert Path(named).read_text() == kept.read_text()
    finally:
        settings.write_text(before)


def test_the_units_credentials_are_those_of_the_page_and_cover_every_secret() -> None:
    """Each file that a setting names is a credential of the unit, or is no secret."""
    rows = re.findall(r"^\| `(riverkeep\.[\w-]+)` \| (.+) \|$", part("Secrets"), re.MULTILINE)
    assert [name for name, _ in rows] == values("LoadCredential")
    covered = [setting for _, named in rows for setting in re.findall(r"`([\w.]+)`", named)]
    files = {".".join(setting.path) for setting in walk(Settings) if setting.path[-1].endswith("_file")}
    assert sorted(covered) == sorted(files - NO_SECRETS.keys())
    assert NO_SECRETS.keys() <= files
    assert all(not name.startswith("/") and ":" not in name for name in values("LoadCredential"))
