"""Make the secrets of one stack: a private CA, a certificate for each part, tokens, exchange keys.

    stack_secrets.py make DIR      one folder per part in DIR; what is there and sound stays
    stack_secrets.py export DIR    the operator's folder as a tar on stdout
    stack_secrets.py show DIR      the password of Grafana's user `admin`

Each part gets its own folder, and in compose its own volume: the engine never sees exchange keys,
no part the key of the CA. A caller has a token of its own at each server, so that a server that
is taken over cannot call another one with it. Certificates are made anew a month before they end;
servers take them up while they run.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
import sys
import tarfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFE: Final = timedelta(days=3650)
LEAF_LIFE: Final = timedelta(days=365)
RENEW_BEFORE: Final = timedelta(days=30)
PARTS: Final = (
    "connector-spot",
    "connector-perp",
    "scanner",
    "engine",
    "operator",
    "nats",
    "postgres",
    "collector",
)
"""Who gets a certificate; its names are the part's own, `localhost` and 127.0.0.1."""

CONNECTORS: Final = ("connector-spot", "connector-perp")
CALLS: Final = {
    "scanner": CONNECTORS,
    "engine": (*CONNECTORS, "scanner"),
    "operator": (*CONNECTORS, "scanner", "engine"),
}
"""Whom each caller calls: it holds a token for each, which the server knows it by."""

SHARED: Final = (
    ("api-key", ("simulator", *CONNECTORS)),
    ("api-secret", ("simulator", *CONNECTORS)),
    ("control-token", ("simulator", "operator")),
    ("nats-token", ("nats", "scanner")),
    ("postgres-password", ("postgres", "engine")),
)
"""Secrets that several parts hold alike: the simulated account's key, the simulator's control."""

GRAFANA: Final = ("grafana", "admin-password")
_OWN: Final = 0o400
_OTHERS: Final = 0o444
_ARB_FILE: Final = Path(__file__).with_name("arb.toml")


class Authority:
    """The CA of one stack; its key lies in a folder that no service is given."""

    def __init__(self, folder: Path) -> None:
        """Read the CA of the folder, or make one."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._key_file, self.file = folder / "ca.key", folder / "ca.pem"
        if not (self._key_file.exists() and self.file.exists()):
            self._make()
        key = serialization.load_pem_private_key(self._key_file.read_bytes(), password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"{self._key_file} holds no elliptic curve key")
        self._key = key
        self.certificate = x509.load_pem_x509_certificate(self.file.read_bytes())

    def _make(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name("OpenSQT Arb private CA")
        certificate = (
            _builder(name, name, key.public_key(), CA_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(_identifier(key), critical=False)
            .sign(key, hashes.SHA256())
        )
        write(self._key_file, _pem_of_key(key), _OWN)
        write(self.file, certificate.public_bytes(serialization.Encoding.PEM), _OWN)

    def issue(self, folder: Path, name: str) -> None:
        """Give a part its certificate and key and the CA's certificate, unless its own still do."""
        pem, key_file = folder / "tls.pem", folder / "tls.key"
        if pem.exists() and key_file.exists() and self._still_does(pem):
            return
        key = ec.generate_private_key(ec.SECP256R1())
        uses = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)
        certificate = (
            _builder(_name(name), self.certificate.subject, key.public_key(), LEAF_LIFE)
            .add_extension(x509.SubjectAlternativeName(_hosts(name)), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(_identifier(key), critical=False)
            # RFC 5280 asks for it, and Python from 3.13 on refuses a certificate without.
            .add_extension(self._key_identifier(), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        # The key first: a server that looks in between refuses a pair that does not fit, and waits.
        write(key_file, _pem_of_key(key), _OWN)
        write(pem, certificate.public_bytes(serialization.Encoding.PEM), _OWN)
        write(folder / "ca.pem", self.file.read_bytes(), _OWN)

    def _key_identifier(self) -> x509.AuthorityKeyIdentifier:
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())

    def _still_does(self, pem: Path) -> bool:
        held = x509.load_pem_x509_certificate(pem.read_bytes())
        ours = held.issuer == self.certificate.subject and _signed(held, self.certificate)
        return ours and held.not_valid_after_utc - RENEW_BEFORE > datetime.now(UTC)


def make(root: Path) -> None:
    """Make what is missing or near its end under `root`; safe to run again at any time."""
    os.umask(0o077)
    authority = Authority(root / "ca")
    for part in PARTS:
        authority.issue(_folder(root, part), part)
    for caller, servers in CALLS.items():
        for server in servers:
            _token(root, caller, server)
    for name, parts in SHARED:
        _share([_folder(root, part) / name for part in parts], _OWN)
    token = (root / "nats" / "nats-token").read_text(encoding="ascii")
    write(root / "nats" / "auth.conf", f'authorization {{ token: "{token}" }}\n'.encode(), _OWN)
    part, name = GRAFANA
    # Grafana runs as a user of its own; nobody else mounts this folder.
    _share([_folder(root, part) / name], _OTHERS)
    (root / part).chmod(0o755)
    if _ARB_FILE.exists():
        write(_folder(root, "operator") / "arb.toml", _ARB_FILE.read_bytes(), _OWN)


def _token(root: Path, caller: str, server: str) -> None:
    known = _folder(root, server) / "callers" / f"{caller}.token"
    held = _folder(root, caller) / "at" / f"{server}.token"
    for path in (known, held):
        path.parent.mkdir(mode=0o700, exist_ok=True)
    _share([known, held], _OWN)


def _share(paths: list[Path], mode: int) -> None:
    """Put one random secret into all of these files, unless they hold the same one already."""
    held = {path.read_text(encoding="ascii") if path.exists() else "" for path in paths}
    if len(held) == 1 and held != {""}:
        return
    text = secrets.token_hex(32)
    for path in paths:
        write(path, text.encode(), mode)


def write(path: Path, content: bytes, mode: int) -> None:
    """Write a file in one step with its mode: no reader ever sees half of it, or more than may."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def export(root: Path) -> None:
    """Write the operator's folder as a tar to stdout, for `arb` on the host."""
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
        archive.add(root / "operator", arcname=".", filter=_writable_folder)


def _writable_folder(member: tarfile.TarInfo) -> tarfile.TarInfo:
    # Whoever unpacks it owns it, and may replace it by the next one.
    member.mode = 0o700 if member.isdir() else 0o600
    return member


def show(root: Path) -> None:
    """Print Grafana's password."""
    part, name = GRAFANA
    sys.stdout.write((root / part / name).read_text(encoding="ascii") + "\n")


def _folder(root: Path, part: str) -> Path:
    folder = root / part
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _hosts(name: str) -> list[x509.GeneralName]:
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    return [x509.DNSName(name), x509.DNSName("localhost"), address]


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, life: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # Clocks of the stack's machines may differ a little.
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + life)
    )


def _identifier(key: ec.EllipticCurvePrivateKey) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key())


def _pem_of_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _signed(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, TypeError, ValueError):
        return False
    return True


def main() -> int:
    """Do what the command line says; return the exit code."""
    verbs = {"make": make, "export": export, "show": show}
    if len(sys.argv) != 3 or sys.argv[1] not in verbs:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    verbs[sys.argv[1]](Path(sys.argv[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
