"""A process tells when the first of its certificates ends, long before nobody lets it in."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from services.common.certificates import show_certificates
from services.common.metrics import ServiceMetrics
from services.common.settings import ClientTlsSettings, EndpointSettings, TlsSettings
from services.common.settings_part import SettingsPart
from tests.support.certificates import CertificateAuthority

NAME = "opensqt_engine_certificate_end_timestamp_seconds"


class Settings(SettingsPart):
    """Settings with certificates at every depth."""

    tls: TlsSettings | None = None
    venues: tuple[EndpointSettings, ...] = ()


def shown(settings: Settings) -> float | None:
    """Return what the process shows."""
    metrics = ServiceMetrics("engine")
    show_certificates(metrics, settings)
    return metrics.registry.get_sample_value(NAME)


def test_the_first_end_of_all_that_the_process_shows_counts(tmp_path: Path) -> None:
    """As a server and as a caller; the CA that it trusts is not its own."""
    authority = CertificateAuthority(tmp_path)
    server = authority.issue("engine")
    client = authority.issue("client", life=timedelta(minutes=30))
    tls = TlsSettings(certificate_file=server.certificate, key_file=server.key)
    trusted = ClientTlsSettings(ca_file=authority.file)
    asked = ClientTlsSettings(certificate_file=client.certificate, key_file=client.key)
    trusting, asking = (EndpointSettings(address="a:1", tls=each) for each in (trusted, asked))
    assert shown(Settings(tls=tls, venues=(trusting,))) == server.end.timestamp()
    assert shown(Settings(tls=tls, venues=(trusting, asking))) == client.end.timestamp()


def test_without_tls_nothing_is_shown() -> None:
    """A zero would look like one that has ended."""
    assert shown(Settings(venues=(EndpointSettings(address="127.0.0.1:1"),))) is None


def test_what_is_no_certificate_is_left_to_who_uses_it(tmp_path: Path) -> None:
    """The server says at its start what is wrong with its files."""
    file = tmp_path / "tls.pem"
    file.write_text("no certificate")
    assert shown(Settings(tls=TlsSettings(certificate_file=file, key_file=file))) is None
