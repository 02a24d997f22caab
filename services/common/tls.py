"""Certificates as gRPC credentials.

A server's files are looked at again with each handshake, so that keys are renewed without a restart
and without a lost call: connections that stand keep the key they began with. A channel's files are
read once, when it is made.
"""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import grpc

from services.common.logs import get_logger

if TYPE_CHECKING:
    from pathlib import Path

    from services.common.settings import ClientTlsSettings, TlsSettings

_log = get_logger(__name__)
_Stamp = tuple[tuple[int, int, int], ...]


def server_credentials(tls: TlsSettings) -> grpc.ServerCredentials:
    """Return the server's credentials; with a client CA every caller must show a certificate of it.

    Raises OSError when a file went away since the settings were read.
    """
    files = _ServerFiles(tls)
    return grpc.dynamic_ssl_server_credentials(
        files.read(),
        files.changed,  # type: ignore[arg-type]  # the stub forgets that None keeps what is
        require_client_authentication=tls.client_ca_file is not None,
    )


def find_problem(tls: TlsSettings) -> str:
    """Return what keeps a server's files from being used; empty where nothing does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(tls.certificate_file, tls.key_file)
        if tls.client_ca_file is not None:
            context.load_verify_locations(tls.client_ca_file)
    except OSError as error:
        return str(error.strerror or error.args[-1])
    return ""


class _ServerFiles:
    """The files of a server's TLS and when they changed last; called from gRPC's own threads."""

    def __init__(self, tls: TlsSettings) -> None:
        self._tls = tls
        named = (tls.key_file, tls.certificate_file, tls.client_ca_file)
        self._paths = tuple(path for path in named if path is not None)
        self._stamp = self._stat()

    def read(self) -> grpc.ServerCertificateConfiguration:
        """Return what the files hold now."""
        tls = self._tls
        return grpc.ssl_server_certificate_configuration(
            [(tls.key_file.read_bytes(), tls.certificate_file.read_bytes())],
            root_certificates=_read(tls.client_ca_file),
        )

    def changed(self) -> grpc.ServerCertificateConfiguration | None:
        """Return what the files hold when they changed since; None keeps what is in force.

        A key that does not fit its certificate, as in the middle of a renewal, is refused by gRPC,
        which keeps what it had; the file that follows is a change again.
        """
        try:
            stamp = self._stat()
            if stamp == self._stamp:
                return None
            renewed = self.read()
        except OSError as error:
            _log.error("certificates_kept", problem=str(error.strerror))
            return None
        self._stamp = stamp
        _log.info("certificates_read")
        return renewed

    def _stat(self) -> _Stamp:
        states = [path.stat() for path in self._paths]
        return tuple((state.st_mtime_ns, state.st_size, state.st_ino) for state in states)


def channel_credentials(tls: ClientTlsSettings) -> grpc.ChannelCredentials:
    """Return a client's credentials: the CA it trusts and, for mTLS, its own certificate."""
    return grpc.ssl_channel_credentials(
        root_certificates=_read(tls.ca_file),
        private_key=_read(tls.key_file),
        certificate_chain=_read(tls.certificate_file),
    )


def _read(path: Path | None) -> bytes | None:
    return None if path is None else path.read_bytes()
