"""The page's certificate: looked at again while it is served, so that it is renewed in place."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from services.common.logs import get_logger

if TYPE_CHECKING:
    from pathlib import Path

    from services.common.server_settings import TlsSettings

_log = get_logger(__name__)
_Stamp = tuple[tuple[int, int, int], ...]


class PageCertificate:
    """One context for all handshakes, and the files it was read from."""

    def __init__(self, tls: TlsSettings) -> None:
        """Read the files; raise OSError (ssl.SSLError too) where they do not do."""
        self._tls = tls
        self.context = ssl.create_default_context(
            ssl.Purpose.CLIENT_AUTH, cafile=tls.client_ca_file
        )
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        if tls.client_ca_file is not None:
            self.context.verify_mode = ssl.CERT_REQUIRED
        self._load(self.context)
        self._stamp = _stamp((tls.certificate_file, tls.key_file))

    def refresh(self) -> None:
        """Read certificate and key again when they changed; unsound ones leave those of before."""
        try:
            stamp = _stamp((self._tls.certificate_file, self._tls.key_file))
            if stamp == self._stamp:
                return
            self._stamp = stamp
            # Tried on a context of its own: half a renewal must not end in the one that serves.
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
            self._load(self.context)
        except OSError as error:
            _log.error("page_certificate_kept", problem=str(error.strerror or error.args[-1]))
            return
        _log.info("page_certificate_read")

    def _load(self, context: ssl.SSLContext) -> None:
        context.load_cert_chain(self._tls.certificate_file, self._tls.key_file)


def _stamp(paths: tuple[Path, ...]) -> _Stamp:
    states = [path.stat() for path in paths]
    return tuple((state.st_mtime_ns, state.st_size, state.st_ino) for state in states)
