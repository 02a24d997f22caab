"""The documentation says what the code does: settings load, reasons are told, links lead on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from cli.settings import ArbSettings
from services.common.server_settings import ServerSettings
from services.common.settings import SettingsRoot
from services.common.settings_loader import read_settings
from services.common.tracing_settings import TracingSettings
from services.connector.limits_settings import LimitsPart
from services.connector.settings import ConnectorPart, ConnectorSettings
from services.engine.settings import EngineSettings
from services.scanner.live_settings import LiveSettings
from services.scanner.nats_settings import NatsSettings
from services.scanner.settings import (
    CostSettings,
    HistorySettings,
    QuarantineSettings,
    ScannerSettings,
    ScoreSettings,
    UniverseSettings,
)
from services.simulator.settings import SimulatorSettings

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
CLASSES: dict[str, type[SettingsRoot]] = {
    settings.service: settings
    for settings in (
        ArbSettings,
        ConnectorSettings,
        EngineSettings,
        ScannerSettings,
        SimulatorSettings,
    )
}
BLOCK = re.compile(r"```toml\n# settings: (\w+)\n(.*?)```", re.DOTALL)
BLOCKS = BLOCK.findall((ROOT / "docs" / "running.md").read_text())
REASON = re.compile(
    r'(?:reason=|default_reason[^=\n]*= |^_?[A-Z_]+(?:: Final)? = )"([A-Z]+_[A-Z_]+)"',
    re.MULTILINE,
)
PARTS: tuple[type[BaseModel], ...] = (
    *(ConnectorPart, LimitsPart, ServerSettings, ScannerSettings, UniverseSettings),
    *(HistorySettings, QuarantineSettings, CostSettings, ScoreSettings, LiveSettings, NatsSettings),
    TracingSettings,
)
LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


@pytest.mark.parametrize(("service", "text"), BLOCKS)
def test_every_configuration_shown_loads(tmp_path: Path, service: str, text: str) -> None:
    """A reader who copies a file gets a service, not a list of problems."""
    path = tmp_path / "config.toml"
    path.write_text(text)
    assert read_settings(CLASSES[service], path, {}).service == service


def test_a_configuration_of_every_program_is_shown() -> None:
    """Nobody has to guess a file."""
    assert {service for service, _ in BLOCKS} == set(CLASSES)


def test_every_reason_in_the_code_is_told() -> None:
    """Programs branch on reasons, so each stands in the table."""
    told = set(re.findall(r"`([A-Z_]+)`", (ROOT / "docs" / "errors.md").read_text()))
    used: set[str] = set()
    for path in (ROOT / "services").rglob("*.py"):
        used |= set(REASON.findall(path.read_text()))
    assert len(used) > 40
    assert sorted(used - told) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_inside_the_tree_leads_somewhere(page: Path) -> None:
    """A page that moved takes its links along."""
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_the_readme_names_every_page() -> None:
    """A page nobody can find is not there."""
    readme = (ROOT / "README.md").read_text()
    assert [
        page.name for page in PAGES if page.name not in readme and page.name != "README.md"
    ] == []


@pytest.mark.parametrize("part", PARTS)
def test_every_setting_is_told(part: type[BaseModel]) -> None:
    """A setting that stands in no page is one that nobody finds."""
    text = (ROOT / "docs" / "running.md").read_text()
    told = set(re.findall(r"[a-z][a-z0-9_]+", text))
    assert sorted(set(part.model_fields) - told) == []
