"""What images and stack are made from: package lists, the lock's parts, configuration, secrets."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from cli.settings import ArbSettings
from scripts import images_compare
from scripts.image_packages import PACKAGES_FILE, render
from scripts.images_compare import differences
from scripts.lock_part import select
from scripts.stack_secrets import make
from services.common.settings import SettingsRoot
from services.common.settings_loader import read_settings
from services.connector.settings import ConnectorSettings
from services.engine.settings import EngineSettings
from services.scanner.settings import ScannerSettings
from services.simulator.settings import SimulatorSettings

ROOT = Path(__file__).resolve().parents[2]
_CONFIG = ROOT / "deploy" / "config"
_FILES: dict[str, tuple[type[SettingsRoot], str]] = {
    "simulator.toml": (SimulatorSettings, "simulator"),
    "connector-spot.toml": (ConnectorSettings, "connector-spot"),
    "connector-perp.toml": (ConnectorSettings, "connector-perp"),
    "scanner.toml": (ScannerSettings, "scanner"),
    "scale/scanner.toml": (ScannerSettings, "scanner"),
    "live/connector-spot.toml": (ConnectorSettings, "connector-spot"),
    "live/connector-perp.toml": (ConnectorSettings, "connector-perp"),
    "paper/simulator.toml": (SimulatorSettings, "simulator"),
    "paper/connector-spot.toml": (ConnectorSettings, "connector-spot"),
    "paper/connector-perp.toml": (ConnectorSettings, "connector-perp"),
    "engine.toml": (EngineSettings, "engine"),
    "scale/engine.toml": (EngineSettings, "engine"),
    "arb-inside.toml": (ArbSettings, "operator"),
}
_TRACED = ("connector-spot.toml", "connector-perp.toml", "scanner.toml", "engine.toml")
# As docker-compose.yml gives them.
_ENVIRONMENTS = {
    "scale/engine.toml": {"OPENSQT_ENGINE__SHARED_JOURNAL__HOLDER": "engine-a"},
    "live/connector-spot.toml": {"OPENSQT_CONNECTOR__CONNECTOR__EXCHANGE": "binance"},
    "live/connector-perp.toml": {"OPENSQT_CONNECTOR__CONNECTOR__EXCHANGE": "binanceusdm"},
    "paper/connector-spot.toml": {"OPENSQT_CONNECTOR__CONNECTOR__EXCHANGE": "binance"},
    "paper/connector-perp.toml": {"OPENSQT_CONNECTOR__CONNECTOR__EXCHANGE": "binanceusdm"},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The secrets of a stack, as its first start makes them."""
    folder = tmp_path_factory.mktemp("secrets")
    make(folder)
    return folder


def test_package_lists_are_current() -> None:
    """What an image installs follows from pyproject.toml and the locked packages."""
    assert PACKAGES_FILE.read_text(encoding="utf-8") == render(), "make image-packages"


def test_every_image_is_covered_by_the_lock() -> None:
    """Each package of an image has its pin and its hashes; the engine has no ccxt."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    images = tomllib.loads(PACKAGES_FILE.read_text(encoding="utf-8"))
    for names in images.values():
        part = select(lock, names)
        # A package may be pinned once for each range of Pythons.
        assert len(set(re.findall(r"^\S+==", part, re.MULTILINE))) == len(names)
        assert part.count("--hash=sha256:") >= len(names)
    assert "ccxt" in images["connector"]
    assert not {"ccxt", "numpy"} & set(images["engine"])
    with pytest.raises(ValueError, match="no-such-package"):
        select(lock, ["no-such-package"])


@pytest.mark.parametrize("image", ["connector", "scanner", "engine"])
def test_images_that_can_trace_hold_the_exporter(image: str) -> None:
    """Whoever sets `[tracing]` in the stack needs no image of their own."""
    images = tomllib.loads(PACKAGES_FILE.read_text(encoding="utf-8"))
    assert {"opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-grpc"} <= set(images[image])


@pytest.mark.parametrize("name", _TRACED)
def test_shipped_traces_are_sent_with_the_certificate_of_the_stack(
    name: str, made: Path, tmp_path: Path
) -> None:
    """What deploy/traces.yml sets is sound beside the file that is mounted, as is its receiver."""
    kind, part = _FILES[name]
    text = (_CONFIG / name).read_text(encoding="utf-8").replace("/run/opensqt", str(made / part))
    config = tmp_path / "settings.toml"
    config.write_text(text, encoding="utf-8")
    shipped = (ROOT / "deploy" / "traces.yml").read_text(encoding="utf-8")
    told = {
        key: value.replace("/run/opensqt", str(made / part))
        for key, value in re.findall(r"^  (OPENSQT_[A-Z_]+): (\S+)$", shipped, re.MULTILINE)
        if key.startswith(f"OPENSQT_{kind.service.upper()}__")
    }
    tracing = read_settings(kind, config, told).tracing  # type: ignore[attr-defined]
    assert tracing.address == "collector:4317"
    assert tracing.tls.certificate_file == made / part / "tls.pem"
    assert (made / "collector" / "tls.key").exists()


@pytest.mark.parametrize("name", _FILES)
def test_shipped_configuration_loads_with_the_made_secrets(
    name: str, made: Path, tmp_path: Path
) -> None:
    """Every file that a stack mounts is sound, and its part holds every secret that it names."""
    kind, part = _FILES[name]
    text = (_CONFIG / name).read_text(encoding="utf-8").replace("/run/opensqt", str(made / part))
    text = text.replace("/run/secrets", str(made / part))
    config = tmp_path / "settings.toml"
    config.write_text(text, encoding="utf-8")
    read_settings(kind, config, _ENVIRONMENTS.get(name, {}))


@pytest.mark.parametrize(("part", "venue"), [("spot", "okx-spot"), ("perp", "gate-swap")])
def test_a_venue_that_asks_for_a_passphrase_can_be_had_live(
    part: str, venue: str, made: Path, tmp_path: Path
) -> None:
    """Its line in the file that is mounted is a comment, and the secret it names is mounted too."""
    text = (_CONFIG / "live" / f"connector-{part}.toml").read_text(encoding="utf-8")
    text = text.replace("# api_passphrase_file", "api_passphrase_file")
    stack = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    (tmp_path / "secrets").mkdir()
    for name in re.findall(r"/run/secrets/([a-z-]+)", text):
        assert f"source: {part}-{name}, target: {name} " in stack
        assert f"\n  {part}-{name}: " in stack
        (tmp_path / "secrets" / name).write_text("a-word-of-the-venue", encoding="ascii")
    text = text.replace("/run/opensqt", str(made / f"connector-{part}"))
    config = tmp_path / "settings.toml"
    config.write_text(text.replace("/run/secrets", str(tmp_path / "secrets")), encoding="utf-8")
    told = {"OPENSQT_CONNECTOR__CONNECTOR__EXCHANGE": venue}
    assert read_settings(ConnectorSettings, config, told).connector.api_passphrase_file is not None


def test_secrets_are_made_once_and_kept_apart(made: Path) -> None:
    """A second run changes nothing; no part has the CA's key, and only owners can read."""
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    make(made)
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before
    for path in before:
        shown = 0o444 if path.parent.name == "grafana" else 0o400
        assert path.stat().st_mode & 0o777 == shown, path
    assert [path.parent.name for path in before if path.name == "ca.key"] == ["ca"]
    assert not (made / "engine" / "api-key").exists()


def test_a_caller_has_a_token_of_its_own_at_each_server(made: Path) -> None:
    """What one server knows of a caller opens no other one."""
    tokens = [path.read_text(encoding="ascii") for path in made.rglob("at/*.token")]
    assert len(tokens) == len(set(tokens)) == 9
    known = made / "connector-spot" / "callers" / "engine.token"
    held = made / "engine" / "at" / "connector-spot.token"
    assert known.read_bytes() == held.read_bytes()


def test_differences_of_two_images_are_named() -> None:
    """A comparison tells path and kind of what is unlike, and nothing of what is not."""
    same = ("0", 0o644, 0, 0, 1.0, "digest")
    first = {"a": same, "b": same, "c": same}
    second = {"a": same, "b": ("0", 0o600, 0, 0, 2.0, "digest")}
    expected = [("b", "mode, time"), ("c", "in one of them only")]
    assert list(differences(first, second)) == expected


def test_each_of_two_builds_makes_all_stages_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the last stage of the second is the first's, and compared with itself."""
    commands: list[tuple[str, ...]] = []
    monkeypatch.setattr(images_compare, "_docker", lambda *words: commands.append(words))
    images_compare.build("engine", "engine:0", "a-turn", [])
    (command,) = commands
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    stages = re.split(r"^FROM \$", dockerfile, flags=re.MULTILINE)[1:]
    for name, stage in zip(("TURN", "REVISION"), stages, strict=True):
        assert f"{name}=a-turn" in command
        assert f"ARG {name}=" in stage
