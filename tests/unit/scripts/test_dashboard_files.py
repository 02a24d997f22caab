"""The dashboards' files, and the schema they are held to."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import pytest

from scripts.dashboards.__main__ import FOLDER, PLANS, drawn, findings, write
from scripts.dashboards.frame import DATASOURCE_UID
from scripts.dashboards.plan import GRID_WIDTH
from scripts.dashboards.schema import problems_of
from tests.support.dashboard_questions import questions

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def overview() -> dict[str, Any]:
    """The overview as its file says it."""
    document: dict[str, Any] = json.loads(drawn()["overview.json"])
    return document


def test_a_file_that_is_not_what_the_plans_make_is_found(tmp_path: Path) -> None:
    """A changed, a missing and a left-over file each have a finding; written anew none has."""
    write(tmp_path)
    assert findings(tmp_path) == []
    (tmp_path / "risk.json").unlink()
    (tmp_path / "old.json").write_text((tmp_path / "scanner.json").read_text())
    changed = (tmp_path / "overview.json").read_text().replace("Carry earned", "Carry")
    (tmp_path / "overview.json").write_text(changed)
    assert [one.partition(":")[0] for one in findings(tmp_path)] == [
        "old.json",
        "overview.json",
        "risk.json",
    ]
    write(tmp_path)
    assert findings(tmp_path) == []


def test_the_age_of_what_never_was_is_not_shown() -> None:
    """A time is 0 until it is first set: its age would be that of 1970."""
    ages = [one.expr for one in questions({}) if one.expr.startswith("time() -")]
    assert len(ages) == 2
    assert [one for one in ages if not one.endswith("_timestamp_seconds > 0)")] == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("panels", 1, "fieldConfig", "defaults", "decimals"), "two"),
        (("panels", 1, "options", "colorMode"), "loud"),
        (("panels", 1, "targets", 0, "expression"), "up"),
        (("panels", 1, "datasource", "uid"), "another"),
        (("panels", 1, "gridPos", "x"), GRID_WIDTH),
        (("panels", 2, "id"), 2),
        (("templating", "list", 0, "refresh"), 9),
        (("annotations", "list", 0, "colour"), "red"),
    ],
)
def test_what_grafana_would_not_read_is_found(
    overview: dict[str, Any], path: tuple[str | int, ...], value: object
) -> None:
    """A wrong type, a wrong word, an unknown key, a lost source and a bad place are problems."""
    document: Any = copy.deepcopy(overview)
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert problems_of(overview) == []
    assert problems_of(document) != []


def test_each_line_of_panels_fills_the_width() -> None:
    """No line of panels is wider or narrower than the grid."""
    for plan in PLANS:
        for row in plan.rows:
            filled = 0
            for panel in row.panels:
                filled += panel.width
                assert filled <= GRID_WIDTH, f"{plan.slug}: {panel.title}"
                filled %= GRID_WIDTH
            assert filled == 0, f"{plan.slug}: {row.title}"


def test_the_provisioned_source_is_the_one_the_panels_name() -> None:
    """The datasource's file has the uid of the panels."""
    file = FOLDER.parent / "provisioning" / "datasources" / "prometheus.yml"
    assert f"uid: {DATASOURCE_UID}\n" in file.read_text(encoding="utf-8")
