"""The style figures see what they claim to see."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import style_figures
from scripts.style_figures import Module, figures, measure

SAMPLE = '''"""Module."""

import dataclasses
from dataclasses import dataclass


@dataclass
class Thawed:
    def method(self, argument):
        pass


# Counts up, so it changes.
@dataclass(slots=True)
class Counter:
    """A counter."""

    @property
    def value(self) -> int:
        """The count."""
        def inner() -> int:
            return 1  # noqa: S101
        return inner()


@dataclasses.dataclass(frozen=True)
class Frozen:
    """Mutable it is not."""


def _private(*numbers: int, **names: str) -> None:
    print(numbers)
'''


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Module:
    """Measure the sample as a module of its own tree."""
    monkeypatch.setattr(style_figures, "ROOT", tmp_path)
    path = tmp_path / "sample.py"
    path.write_text(SAMPLE, encoding="utf-8")
    return measure(path)


def test_untyped_argument_or_result_makes_a_function_untyped(module: Module) -> None:
    """Only the method without annotations is found; self needs none."""
    untyped = [function.place for function in module.functions if not function.is_typed]
    assert untyped == ["sample.py:9 method"]


def test_functions_inside_functions_and_private_names_need_no_docstring(module: Module) -> None:
    """Public are the methods of public classes, not what they hold and not _private."""
    public = {function.place.split()[1] for function in module.functions if function.is_public}
    assert public == {"method", "value"}


def test_dataclass_without_reason_is_found(module: Module) -> None:
    """A comment at the head or frozen=True makes a dataclass good; the bare one is found."""
    assert module.thawed_dataclasses == ("sample.py:8",)


def test_pragmas_are_no_comments(module: Module) -> None:
    """One comment, not two."""
    assert module.comment_count == 1


def test_missed_targets_name_their_places(module: Module) -> None:
    """Each missed row of the table lists the offenders."""
    missed = {row.name: row.offenders for row in figures([module]) if not row.is_met}
    assert missed["docstrings, public classes"] == ("sample.py:8 Thawed",)
    assert missed["docstrings, public functions"] == ("sample.py:9 method",)
    assert missed["modules that print"] == ("sample.py",)
    assert "docstrings, modules" not in missed
