"""Certificates as gRPC credentials; files are read once, when the server or channel is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from pathlib import Path

    from services.common.settings import ClientTlsSettings, TlsSettings


def server_credentials(tls: TlsSettings) -> grpc.ServerCredentials:
    """Return the server's credentials; with a client CA every caller must show a certificate of it.

    Raises OSError when a file went away since the settings were read.
    """
    return grpc.ssl_server_credentials(
        [(tls.key_file.read_bytes(), tls.certificate_file.read_bytes())],
        root_certificates=_read(tls.client_ca_file),
        require_client_auth=tls.client_ca_file is not None,
    )


def channel_credentials(tls: ClientTlsSettings) -> grpc.ChannelCredentials:
    """Return a client's credentials: the CA it trusts and, for mTLS, its own certificate."""
    return grpc.ssl_channel_credentials(
        root_certificates=_read(tls.ca_file),
        private_key=_read(tls.key_file),
        certificate_chain=_read(tls.certificate_file),
    )


def _read(path: Path | None) -> bytes | None:
    return None if path is None else path.read_bytes()
