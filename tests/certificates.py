"""Certificates made for a test, by the `openssl` that is installed."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CONFIGURATION: Final = """
[ca]
default_ca = own
[own]
database = index.txt
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
x509_extensions = leaf
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
[leaf]
basicConstraints = CA:FALSE
[root]
basicConstraints = critical, CA:TRUE
[req]
distinguished_name = name
[name]
"""
LONG_AGO: Final = ("20200101000000Z", "20200102000000Z")
IN_FORCE: Final = ("20200101000000Z", "20400101000000Z")
LATER: Final = ("20390101000000Z", "20400101000000Z")


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates.

    Args:
        directory: where all of it lies; must exist.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        (directory / "index.txt").touch()
        (directory / "serial").write_text("1000\n")
        (directory / "ca.cnf").write_text(CONFIGURATION)
        self.own = self._sign("root", IN_FORCE, "-selfsign", "-extensions", "root")

    def pair(self, name: str, dates: tuple[str, str] = IN_FORCE) -> Pair:
        """A certificate for 127.0.0.1 and localhost, which serves clients as well."""
        own = ("-cert", str(self.own.certificate), "-keyfile", str(self.own.key))
        return self._sign(name, dates, *own)

    def _sign(self, name: str, dates: tuple[str, str], *how: str) -> Pair:
        key, request, certificate = (self._directory / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        config = ("-config", "ca.cnf", "-batch", "-notext")
        self._openssl(
            *(
                "req",
                "-new",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-config",
                "ca.cnf",
            ),
            *("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
            *("-keyout", str(key), "-out", str(request)),
        )
        if "-selfsign" in how:
            how = (*how, "-keyfile", str(key))
        start, end = dates
        self._openssl(
            *("ca", *config, "-in", str(request), "-out", str(certificate)),
            *("-startdate", start, "-enddate", end, *how),
        )
        return Pair(certificate, key)

    def _openssl(self, *arguments: str) -> None:
        ran = subprocess.run(
            ["openssl", *arguments], cwd=self._directory, capture_output=True, text=True, timeout=60, check=False
        )
        assert ran.returncode == 0, ran.stderr
