"""TLS of a listener: its certificate, whom it lets in by theirs, and what is wrong with the files."""

import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from serving.errors import CannotServe

_log = structlog.get_logger(__name__)

EXPIRED: Final = 10
NOT_YET_VALID: Final = 9
"""OpenSSL's numbers for these errors."""
Stamp = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The files of a listener that speaks TLS, all of them PEM.

    Attributes:
        certificate: the listener's, and behind it those between it and a root.
        key: of the certificate, without a password.
        client_ca: who signs the certificates that clients must show; None: they need none.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @property
    def are_there(self) -> bool:
        """Whether each of them is a file."""
        return all(path.is_file() for path in (self.certificate, self.key, self.client_ca) if path is not None)

    def stamps(self) -> tuple[Stamp, ...]:
        """What changes when one of the files does."""
        return tuple(_stamp(path) for path in (self.certificate, self.key, self.client_ca) if path is not None)


def tls_files(certificate: Path | None, key: Path | None, client_ca: Path | None) -> TlsFiles | None:
    """The files that settings name; None: the listener speaks plain HTTP.

    Raises:
        ValueError: one of the files is named without another that it needs.
    """
    if certificate is not None and key is not None:
        return TlsFiles(certificate, key, client_ca)
    if certificate is not None or key is not None:
        raise ValueError("tls_cert_file and tls_key_file go together: name both, or neither")
    if client_ca is not None:
        raise ValueError("tls_client_ca_file needs tls_cert_file and tls_key_file: clients are asked within TLS alone")
    return None


class Certificates:
    """What connections that come now are secured by; read again when the files change.

    Args:
        files: of the listener.

    Raises:
        CannotServe: they are unusable.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._stamps = files.stamps()
        self.context = server_context(files)

    def look(self) -> None:
        """Read the files again where they changed; from unusable ones nothing is taken."""
        stamps = self._files.stamps()
        if stamps == self._stamps:
            return
        # First: files that are unusable are told once, and read again when they change once more.
        self._stamps = stamps
        try:
            self.context = server_context(self._files)
        except CannotServe as error:
            remedy = "put a certificate and its key in place; the earlier ones are used on"
            _log.error("certificates_not_reloaded", reason=str(error), remedy=remedy)
            return
        _log.info("certificates_reloaded", certificate=str(self._files.certificate))


def server_context(files: TlsFiles) -> ssl.SSLContext:
    """How a listener speaks TLS.

    Raises:
        CannotServe: a file cannot be read, holds what it should not, or key and certificate do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load_pair(context, files)
    if files.client_ca is not None:
        _load_trusted(context, files.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """How this machine's own client speaks to a listener with these files: it trusts this certificate and no other.

    Where clients are asked for a certificate it shows the listener's own.

    Raises:
        CannotServe: as from `server_context`.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # It is reached by an address that the certificate need not name, and it has to be this very certificate.
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    _load_trusted(context, files.certificate)
    if files.client_ca is not None:
        _load_pair(context, files)
    return context


def problem_with(files: TlsFiles) -> str:
    """Why clients would be refused or would refuse; empty where both come together."""
    try:
        server, client = server_context(files), client_context(files)
    except CannotServe as error:
        return str(error)
    # It is for the certificate that this looks; whether a client's is accepted is another question.
    server.verify_mode = ssl.CERT_NONE
    try:
        _shake_hands(server, client)
    except ssl.SSLCertVerificationError as error:
        if error.verify_code == EXPIRED:
            return f"the certificate in {files.certificate} has expired; put a new one in its place"
        if error.verify_code == NOT_YET_VALID:
            return f"the certificate in {files.certificate} is not valid yet; is this machine's clock right?"
        return f"clients would refuse the certificate in {files.certificate}: {error.verify_message}"
    except ssl.SSLError as error:
        return f"no client can speak to a listener with {files.certificate}: {error.reason or error}"
    return ""


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """Let the two come together, in memory. Raises ssl.SSLError where they do not."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server, server_side=False),
    )
    # Each step needs what the other wrote; TLS takes three.
    for _ in range(8):
        for end in reversed(ends):
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()


def _load_pair(context: ssl.SSLContext, files: TlsFiles) -> None:
    def refuse_password() -> str:
        # Without this the library would ask at the terminal, and wait.
        raise ValueError(f"{files.key} is protected by a password; write it without one, readable by this user alone")

    try:
        context.load_cert_chain(files.certificate, files.key, password=refuse_password)
    except ssl.SSLError as error:
        raise CannotServe(_why_no_pair(files, error)) from error
    except OSError as error:
        at_fault = error.filename or f"{files.certificate} or {files.key}"
        raise CannotServe(f"{at_fault} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise CannotServe(str(error)) from error


def _why_no_pair(files: TlsFiles, error: ssl.SSLError) -> str:
    if error.reason == "KEY_VALUES_MISMATCH":
        return f"the key in {files.key} is not that of the certificate in {files.certificate}"
    return f"{files.certificate} and {files.key} are no certificate with its key, as PEM: {error.reason or error}"


def _load_trusted(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(cafile=path)
    except ssl.SSLError as error:
        raise CannotServe(f"{path} holds no certificate as PEM: {error.reason or error}") from error
    except OSError as error:
        raise CannotServe(f"{path} cannot be read: {error.strerror}") from error


def _stamp(path: Path) -> Stamp:
    with suppress(OSError):
        entry = path.stat()
        # Written anew by rename, or behind a link that Kubernetes turns: another inode, also within a clock's tick.
        return entry.st_mtime_ns, entry.st_ino, entry.st_size
    return None
