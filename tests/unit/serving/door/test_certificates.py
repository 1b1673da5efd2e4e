"""What is wrong with the files of TLS is told before anybody connects."""

import os
import subprocess
from pathlib import Path

import pytest
from pydantic import ValidationError

from daemon.settings.admin import AdminSettings
from daemon.settings.load import load
from daemon.settings.mistakes import BadSettings
from serving.door.certificates import TlsFiles, problem_with
from serving.settings import ServingSettings
from tests.certificates import LATER, LONG_AGO, Authority, Pair
from tests.models import make_causal


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Who signs."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    """One that is right."""
    return authority.pair("right")


def test_a_certificate_with_its_key_is_taken(authority: Authority, pair: Pair) -> None:
    """With those who sign clients' and without."""
    assert problem_with(TlsFiles(pair.certificate, pair.key)) == ""
    assert problem_with(TlsFiles(pair.certificate, pair.key, authority.own.certificate)) == ""


def test_what_no_client_would_take_is_told(authority: Authority, pair: Pair, tmp_path: Path) -> None:
    """Each with the file and what to do."""
    old, later = authority.pair("old", LONG_AGO), authority.pair("later", LATER)
    locked = tmp_path / "locked.key"
    locking = ["openssl", "ec", "-in", str(pair.key), "-aes128", "-passout", "pass:x", "-out", str(locked)]
    subprocess.run(locking, check=True, capture_output=True, timeout=60)
    for files, words in (
        (TlsFiles(old.certificate, old.key), "has expired"),
        (TlsFiles(later.certificate, later.key), "not valid yet"),
        (TlsFiles(pair.certificate, later.key), "is not that of the certificate"),
        (TlsFiles(pair.key, pair.key), "no certificate with its key"),
        (TlsFiles(tmp_path / "nowhere", pair.key), "cannot be read"),
        (TlsFiles(pair.certificate, locked), "protected by a password"),
        (TlsFiles(pair.certificate, pair.key, pair.key), "holds no certificate"),
    ):
        assert words in problem_with(files), words


@pytest.mark.parametrize("settings", [ServingSettings, AdminSettings])
@pytest.mark.parametrize(
    "named",
    [{"tls_cert_file": "a"}, {"tls_key_file": "a"}, {"tls_client_ca_file": "a"}],
    ids=lambda one: next(iter(one)),
)
def test_files_that_need_others_are_refused_alone(
    settings: type[ServingSettings | AdminSettings], named: dict[str, str]
) -> None:
    """By the names of the settings."""
    with pytest.raises(ValidationError, match="tls_cert_file and tls_key_file"):
        settings.model_validate(named)


def test_check_names_the_listener_whose_certificate_is_of_no_use(
    authority: Authority, pair: Pair, tmp_path: Path
) -> None:
    """Both at once."""
    old = authority.pair("older", LONG_AGO)
    config = tmp_path / "riverkeep.toml"
    config.write_text(
        f"state_dir = '{tmp_path}'\n[model]\npath = '{make_causal(tmp_path / 'model')}'\n"
        f"[serving]\ntls_cert_file = '{old.certificate}'\ntls_key_file = '{old.key}'\n"
        f"[admin]\ntls_cert_file = '{pair.certificate}'\ntls_key_file = '{old.key}'\n"
    )
    with pytest.raises(BadSettings) as raised:
        load(config, dict(os.environ), files=True)
    told = {mistake.key: mistake.problem for mistake in raised.value.mistakes}
    assert "has expired" in told["serving.tls_cert_file"]
    assert "is not that of the certificate" in told["admin.tls_cert_file"]
