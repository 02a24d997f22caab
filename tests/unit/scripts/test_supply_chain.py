"""Licences, the list of packages, and what is known of their holes."""

from __future__ import annotations

import subprocess
from email.message import Message
from typing import TYPE_CHECKING, Any

import pytest

from scripts import audit
from scripts.licences import Rules, findings, licence_of, passes, rules_of
from scripts.locked import LOCK, locked_names, locked_requirements
from scripts.sbom import IncompleteError, check_complete, marked

if TYPE_CHECKING:
    from pathlib import Path

RULES = Rules(
    frozenset({"MIT", "Apache-2.0"}), {"odd": {"licence": "MPL-2.0", "reason": "tests alone"}}
)


def package(*fields: tuple[str, str]) -> Message:
    """Make the metadata of a package."""
    message = Message()
    for name, value in fields:
        message[name] = value
    return message


@pytest.mark.parametrize(
    ("fields", "licence"),
    [
        (
            [("License-Expression", "MIT OR GPL-3.0-only"), ("License", "GPL")],
            "MIT OR GPL-3.0-only",
        ),
        ([("Classifier", "License :: OSI Approved :: MIT License")], "MIT"),
        (
            [
                ("Classifier", "License :: OSI Approved :: MIT License"),
                ("Classifier", "License :: OSI Approved :: Apache Software License"),
            ],
            "Apache-2.0 AND MIT",
        ),
        ([("License", "apache 2.0")], "Apache-2.0"),
        ([("License", "BSD-3-Clause")], "BSD-3-Clause"),
        ([("License", "The whole text of some licence")], ""),
        ([], ""),
    ],
)
def test_a_licence_is_read_from_new_and_old_metadata(
    fields: list[tuple[str, str]], licence: str
) -> None:
    """The expression comes first, then classifiers, then a short word."""
    assert licence_of(package(*fields)) == licence


@pytest.mark.parametrize(
    ("expression", "is_accepted"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("GPL-3.0-only OR MIT", True),
        ("MIT AND GPL-3.0-only", False),
        ("MIT AND (GPL-3.0-only OR Apache-2.0)", True),
        ("GPL-3.0-only OR MIT AND Apache-2.0", True),
        ("(GPL-3.0-only OR MIT) AND LGPL-3.0-only", False),
    ],
)
def test_an_expression_is_judged_by_its_words(expression: str, is_accepted: bool) -> None:
    """One side of OR suffices, AND needs both and binds closer."""
    assert passes(expression, RULES.allowed.__contains__) is is_accepted


@pytest.mark.parametrize("expression", ["", "MIT OR", "(MIT", "MIT)", "MIT Apache-2.0"])
def test_what_is_no_expression_is_refused(expression: str) -> None:
    """Nothing passes by being misread."""
    with pytest.raises(ValueError, match=r"licence|bracket"):
        passes(expression, RULES.allowed.__contains__)


def test_what_is_against_the_rules_is_found() -> None:
    """Untold, not allowed, changed under its exception and excepted without need each fail."""
    assert findings({"good": "MIT", "odd": "MPL-2.0"}, RULES) == []
    licences = {"odd": "GPL-3.0-only", "quiet": "", "strange": "MPL-2.0"}
    assert [one.split(":")[0] for one in findings(licences, RULES)] == ["odd", "quiet", "strange"]
    assert findings({"odd": "MIT"}, RULES) == ["odd: MIT is allowed; its exception is not needed"]


def test_an_exception_has_a_reason() -> None:
    """A licence off the list is accepted for a stated cause only."""
    with pytest.raises(ValueError, match="needs a reason"):
        rules_of({"allowed": ["MIT"], "exceptions": {"odd": {"licence": "MPL-2.0"}}})


def test_the_lock_is_read_for_this_machine() -> None:
    """Hashes are left out, and so is what another platform installs."""
    text = (
        "one==1.0 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
        "Far_Away==2 ; sys_platform == 'plan9' \\\n    --hash=sha256:cc\n"
    )
    assert [str(one.specifier) for one in locked_requirements(text)] == ["==1.0", "==2"]
    assert locked_names(text) == ["one"]
    assert "grpcio" in locked_names(LOCK.read_text(encoding="utf-8"))


def test_a_component_is_marked_with_its_images() -> None:
    """What is in an image is required there, all else is excluded; no path of a machine is told."""
    file = {"type": "distribution", "url": "file:///somewhere/one"}
    site = {"type": "website", "url": "https://one.example"}
    listed: dict[str, Any] = {
        "components": [
            {"name": "One_Thing", "externalReferences": [file, site]},
            {"name": "tool", "externalReferences": [file]},
        ]
    }
    first, second = marked(listed, {"engine": ["one-thing"], "cli": ["one-thing"]})["components"]
    assert (first["scope"], second["scope"]) == ("required", "excluded")
    assert first["properties"] == [{"name": "opensqt:images", "value": "cli,engine"}]
    assert first["externalReferences"] == [site]
    assert "externalReferences" not in second


def test_a_list_without_a_locked_package_is_incomplete() -> None:
    """A list that leaves something out is none."""
    document = {"components": [{"name": "One_Thing"}]}
    check_complete(document, ["one-thing"])
    with pytest.raises(IncompleteError, match="another"):
        check_complete(document, ["one-thing", "another"])


def test_a_hole_fails_and_a_package_left_out_is_no_good_word() -> None:
    """Only what was looked at counts as looked at."""
    whole = {"name": "whole", "version": "1", "vulns": []}
    left_out = {"name": "other", "skip_reason": "not found"}
    hole = {"id": "CVE-1", "fix_versions": ["2"]}
    lines, is_holed = audit.report({"dependencies": [whole, left_out]})
    assert (lines[0], is_holed) == ("audit: 1 of 2 packages looked at", False)
    lines, is_holed = audit.report({"dependencies": [{**whole, "vulns": [hole]}]})
    assert (lines[0], is_holed) == ("whole 1: CVE-1, mended in 2", True)


def test_an_audit_that_reaches_nobody_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tool that cannot answer, or does not end, is told as such and fails nothing."""

    def broken(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 1, "", "Traceback\nno such host\n")

    def endless(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        raise subprocess.TimeoutExpired(command, audit.SECONDS)

    monkeypatch.setattr(subprocess, "run", broken)
    assert audit.ask(tmp_path / "requirements.lock") == "no such host"
    monkeypatch.setattr(subprocess, "run", endless)
    assert audit.main() == 0
    assert capsys.readouterr().out == "audit: nothing was looked at: no end after 180 s\n"
