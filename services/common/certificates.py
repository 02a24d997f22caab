"""When the certificates of a process end: one whose own has ended is let in nowhere any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import BaseModel

from services.common.settings import ClientTlsSettings, TlsSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from services.common.metrics import ServiceMetrics


def show_certificates(metrics: ServiceMetrics, settings: BaseModel) -> None:
    """Show when the first certificate ends that the process began with; nothing without TLS.

    A server takes a renewed file at once, but who calls shows what it read at its start: the figure
    stays until then.
    """
    ends = [end for path in _files(settings) for end in _ends(path)]
    if ends:
        metrics.gauge(
            "certificate_end_timestamp_seconds",
            "When the first certificate ends that the process began with; absent without TLS.",
        ).set(min(ends).timestamp())


def _files(part: object) -> Iterator[Path]:
    """Find the certificates by which this process shows itself, as a server and as a caller."""
    if isinstance(part, TlsSettings | ClientTlsSettings):
        if part.certificate_file is not None:
            yield part.certificate_file
    elif isinstance(part, BaseModel):
        for _, value in part:
            yield from _files(value)
    elif isinstance(part, tuple):
        for value in part:
            yield from _files(value)


def _ends(path: Path) -> list[datetime]:
    # Here: without TLS nobody needs the time and memory that the import takes.
    from cryptography import x509

    try:
        chain = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        # Whoever uses the file says what is wrong with it.
        return []
    return [certificate.not_valid_after_utc for certificate in chain]
