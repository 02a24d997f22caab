"""The committed code is what the sources generate, and a stale module would be noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import protos


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generate the code once, beside the tree."""
    folder = tmp_path_factory.mktemp("generated")
    protos.generate_into(folder)
    return folder


def test_committed_modules_are_what_the_sources_generate(scratch: Path) -> None:
    """Nothing differs, nothing is missing, nothing is left over."""
    assert protos.differences(scratch) == []


def test_stale_and_missing_modules_are_named(scratch: Path, tmp_path: Path) -> None:
    """A changed module and one that is not generated any more are both found."""
    made = tmp_path / protos.PACKAGE
    made.mkdir(parents=True)
    for path in (scratch / protos.PACKAGE).iterdir():
        text = path.read_text(encoding="utf-8")
        if path.name != "risk_pb2.py":
            suffix = "# edited\n" if path.name == "types_pb2.py" else ""
            (made / path.name).write_text(text + suffix, encoding="utf-8")
    assert protos.differences(tmp_path) == ["risk_pb2.py", "types_pb2.py"]


@pytest.mark.parametrize(
    ("old", "new", "is_refused"),
    [
        ("ORDER_SIDE_SELL = 2", "ORDER_SIDE_SELL = 3", True),
        ("ORDER_SIDE_SELL = 2", "ORDER_SIDE_SOLD = 2", True),
        ("Adds to the signed", "Adds to that signed", False),
    ],
    ids=["renumbered", "renamed", "reworded"],
)
def test_only_a_breaking_change_is_refused(
    old: str, new: str, is_refused: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers and names are held to the committed baseline; comments are free."""
    copy = tmp_path / protos.PACKAGE
    copy.mkdir(parents=True)
    for path in (protos.PROTO_ROOT / protos.PACKAGE).glob("*.proto"):
        text = path.read_text(encoding="utf-8")
        (copy / path.name).write_text(text.replace(old, new), encoding="utf-8")
    changed = tmp_path / "changed.binpb"
    with monkeypatch.context() as patch:
        patch.setattr(protos, "PROTO_ROOT", tmp_path)
        protos.build_descriptor_set(changed)
    arguments = ("breaking", str(changed), "--against", str(protos.BASELINE))
    if is_refused:
        with pytest.raises(protos.ChoreFailedError):
            protos.run_buf(*arguments)
    else:
        protos.run_buf(*arguments)
