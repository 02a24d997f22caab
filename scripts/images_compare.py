"""Build images twice from nothing and name every difference: `python -m scripts.images_compare`.

Compares type, mode, owner, time and content of each file of an image, then the digests of its
layers and its configuration. Each build has a revision of its own: a builder takes what it copied
before again for what has the same content, and times would be compared with themselves.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import secrets
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
TARGETS: Final = ("secrets", "simulator", "connector", "scanner", "engine", "arb")
_MOST_NAMED: Final = 20
_FILE: Final = "deploy/Dockerfile"
_BLOCK: Final = 1_048_576
_REVISION: Final = "org.opencontainers.image.revision"

Entry = tuple[str, int, int, int, float, str]
"""Type, mode, user, group, time and digest or link target of one file."""


def build(target: str, tag: str, turn: str, options: list[str]) -> None:
    """Build one image, with layers of the same turn alone; CalledProcessError when it fails."""
    fresh = ["--build-arg", f"TURN={turn}", "--build-arg", f"REVISION={turn}"]
    _docker("build", "-q", "-f", _FILE, "--target", target, "-t", tag, *fresh, *options, ".")


def _docker(*arguments: str) -> bytes:
    command = ["docker", *arguments]
    # Standard error is the builder's own, for who waits for it.
    ended = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)  # noqa: S603 - our own words
    return ended.stdout


def files_of(image: Path) -> dict[str, Entry]:
    """Return the files of a saved image's layers, a later layer over an earlier one."""
    found: dict[str, Entry] = {}
    with tarfile.open(image) as archive:
        manifest = json.load(_member(archive, "manifest.json"))
        for layer in manifest[0]["Layers"]:
            with tarfile.open(fileobj=_member(archive, layer)) as files:
                for member in files:
                    found[member.name] = _entry(files, member)
    return found


def _member(archive: tarfile.TarFile, name: str) -> Any:
    file = archive.extractfile(name)
    if file is None:
        raise ValueError(f"the image holds no {name}")
    return file


def _entry(files: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    told = member.linkname
    if member.isfile():
        digest, content = hashlib.sha256(), _member(files, member.name)
        while block := content.read(_BLOCK):
            digest.update(block)
        told = digest.hexdigest()
    return (str(member.type), member.mode, member.uid, member.gid, member.mtime, told)


def differences(
    first: Mapping[str, Entry], second: Mapping[str, Entry]
) -> Iterator[tuple[str, str]]:
    """Yield each path that is not the same in both, and in what."""
    names = ("type", "mode", "user", "group", "time", "content")
    for path in sorted(first.keys() | second.keys()):
        one, other = first.get(path), second.get(path)
        if one is None or other is None:
            yield path, "in one of them only"
        elif one != other:
            pairs = zip(names, one, other, strict=True)
            yield path, ", ".join(name for name, a, b in pairs if a != b)


def compare(target: str, turns: Sequence[str], options: list[str]) -> int:
    """Build a target twice, write what differs, and return how many files do."""
    tags = [f"opensqt-compare-{target}:{number}" for number in range(len(turns))]
    with tempfile.TemporaryDirectory() as folder:
        found: list[dict[str, Entry]] = []
        for tag, turn in zip(tags, turns, strict=True):
            build(target, tag, turn, options)
            saved = Path(folder, "image.tar")
            _docker("save", "-o", str(saved), tag)
            found.append(files_of(saved))
            saved.unlink()
    unlike = list(differences(*found))
    sys.stdout.write(f"{target}: {len(found[0])} files, {len(unlike)} differ\n")
    for path, what in unlike[:_MOST_NAMED]:
        sys.stdout.write(f"  {path}: {what}\n")
    _tell_digests(tags)
    return sum(what != "time" for _, what in unlike)


def _tell_digests(tags: list[str]) -> None:
    rows = json.loads(_docker("image", "inspect", *tags))
    layers = [row["RootFS"]["Layers"] for row in rows]
    same = sum(a == b for a, b in zip(*layers, strict=True))
    sys.stdout.write(f"  layers: {same} of {len(layers[0])} have the same digest\n")
    one, other = (_configuration(row["Config"]) for row in rows)
    held = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
    sys.stdout.write(f"  of the configuration differ: {', '.join(held) or 'nothing'}\n")
    sys.stdout.flush()


def _configuration(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an image tells a container, without what names the build itself."""
    labels = {name: text for name, text in (config["Labels"] or {}).items() if name != _REVISION}
    return {**{key: config[key] for key in config if key != "Image"}, "Labels": labels}


def main() -> int:
    """Compare the targets of the command line, by default all; 1 when more than times differ."""
    parser = argparse.ArgumentParser(prog="images_compare", description=__doc__)
    parser.add_argument("targets", nargs="*", default=list(TARGETS))
    parser.add_argument("--network", help="network of the build, as `docker build --network`")
    arguments = parser.parse_args()
    options = [] if arguments.network is None else ["--network", arguments.network]
    turns = [secrets.token_hex(8) for _ in range(2)]
    return 1 if sum([compare(target, turns, options) for target in arguments.targets]) else 0


if __name__ == "__main__":
    sys.exit(main())
