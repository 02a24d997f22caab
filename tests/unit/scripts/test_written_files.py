"""Files that are written from code: made, compared, and told where the code does not suffice."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from scripts import written_files
from scripts.written_files import UnwritableError, run


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of pages below a root of its own."""
    monkeypatch.setattr(written_files, "ROOT", tmp_path)
    return tmp_path / "pages"


def _do(word: str, made: Mapping[Path, str], folder: Path, patch: pytest.MonkeyPatch) -> int:
    patch.setattr(sys, "argv", ["written", word])
    return run("About.", "reference", lambda: made, folder)


def test_what_differs_is_missing_or_is_left_over_is_named_and_mended(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A check that passes means that the files are what the code says, no less and no more."""
    made = {folder / f"{name}.md": f"{name}\n" for name in ("current", "missing", "stale")}
    folder.mkdir()
    for name, text in (("current", "current\n"), ("stale", "old\n"), ("left-over", "x\n")):
        (folder / f"{name}.md").write_text(text)
    assert _do("check", made, folder, monkeypatch) == 1
    told = [line.split()[0] for line in capsys.readouterr().err.splitlines()]
    assert told == ["pages/left-over.md", "pages/missing.md", "pages/stale.md"]
    assert _do("generate", made, folder, monkeypatch) == 0
    assert {path: path.read_text() for path in folder.iterdir()} == made
    assert _do("check", made, folder, monkeypatch) == 0


@pytest.mark.parametrize("word", ["generate", "check"])
def test_code_that_says_too_little_fails_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    """Who forgot a meaning reads which, not a traceback."""
    monkeypatch.setattr(sys, "argv", ["written", word])

    def make() -> Mapping[Path, str]:
        raise UnwritableError("Sample.mode has no meaning")

    assert run("About.", "reference", make) == 1
    assert capsys.readouterr().err == "make reference: Sample.mode has no meaning\n"
