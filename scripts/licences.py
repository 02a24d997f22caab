"""Hold the licence of every locked package to the list of those that are allowed.

`python -m scripts.licences` reads the metadata of what is installed. The list, and each exception
with its reason, stand in `[tool.opensqt.licences]` of pyproject.toml. A package whose licence is
not told, is not on the list, or has an exception that it does not need, fails.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from importlib import metadata
from typing import Final, cast

from scripts.locked import LOCK, locked_names, project_table

_WORD: Final = re.compile(r"\(|\)|[^\s()]+")
_ALIASES: Final = {
    "apache": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd license": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd 2-clause license": "BSD-2-Clause",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "psfl": "PSF-2.0",
    "python software foundation license": "PSF-2.0",
}
"""How packages from before SPDX expressions call their licence, in small letters."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Allowed SPDX identifiers, and by package what is accepted beside them and why."""

    allowed: frozenset[str]
    exceptions: Mapping[str, Mapping[str, str]]


def licence_of(package: Message) -> str:
    """Return the licence that a package's metadata declares, an SPDX expression; "" for none.

    Without `License-Expression` (PEP 639) the classifiers speak, of which all must pass, else
    a short `License` field: a long one is the text of a licence.
    """
    if expression := package.get("License-Expression"):
        return str(expression)
    classifiers = [str(one).split(" :: ") for one in package.get_all("Classifier", [])]
    told = [parts[-1] for parts in classifiers if parts[0] == "License" and len(parts) > 2]
    if not told:
        told = [str(package.get("License") or "")]
    names = [_ALIASES.get(one.strip().lower(), one.strip()) for one in told]
    return " AND ".join(sorted({one for one in names if one and " " not in one}))


def passes(expression: str, accepts: Callable[[str], bool]) -> bool:
    """Judge an SPDX expression: of OR one side, of AND both must be accepted.

    ValueError for text that is no such expression.
    """
    words = _WORD.findall(expression)
    result = _either(words, accepts)
    if words:
        raise ValueError(f"no licence expression: {expression!r}")
    return result


def _either(words: list[str], accepts: Callable[[str], bool]) -> bool:
    result = _both(words, accepts)
    while words and words[0].upper() == "OR":
        words.pop(0)
        right = _both(words, accepts)
        result = result or right
    return result


def _both(words: list[str], accepts: Callable[[str], bool]) -> bool:
    result = _one(words, accepts)
    while words and words[0].upper() == "AND":
        words.pop(0)
        right = _one(words, accepts)
        result = result and right
    return result


def _one(words: list[str], accepts: Callable[[str], bool]) -> bool:
    if not words or words[0] == ")":
        raise ValueError("a licence is missing in the expression")
    word = words.pop(0)
    if word != "(":
        return accepts(word)
    result = _either(words, accepts)
    if not words or words.pop(0) != ")":
        raise ValueError("a bracket is open in the expression")
    return result


def findings(licences: Mapping[str, str], rules: Rules) -> list[str]:
    """Return what is against the rules, one sentence for each package; empty when nothing is."""
    found = []
    for name, expression in sorted(licences.items()):
        exception = rules.exceptions.get(name)
        if not expression:
            found.append(f"{name}: tells no licence")
        elif passes(expression, rules.allowed.__contains__):
            if exception is not None:
                found.append(f"{name}: {expression} is allowed; its exception is not needed")
        elif exception is None or exception["licence"] != expression:
            found.append(f"{name}: {expression} is not allowed and has no exception")
    return found


def rules_of(table: Mapping[str, object]) -> Rules:
    """Read the rules; ValueError for an exception without a reason."""
    exceptions = cast("Mapping[str, Mapping[str, str]]", table["exceptions"])
    for name, exception in exceptions.items():
        if not exception.get("reason"):
            raise ValueError(f"{name}: an exception needs a reason")
    return Rules(frozenset(cast("Iterable[str]", table["allowed"])), exceptions)


def main() -> int:
    """Print how many packages have which licence, and what is against the rules."""
    rules = rules_of(project_table("licences"))
    licences, absent = {}, []
    for name in locked_names(LOCK.read_text(encoding="utf-8")):
        try:
            licences[name] = licence_of(cast("Message", metadata.metadata(name)))
        except metadata.PackageNotFoundError:
            absent.append(name)
    problems = findings(licences, rules)
    problems += [f"{name}: locked, but not installed here: make setup" for name in absent]
    counted = Counter(licences.values()).most_common()
    lines = [f"{count:5d}  {licence or '(none told)'}" for licence, count in counted]
    used = sorted(set(rules.exceptions) & set(licences))
    lines += [f"exception {name}: {rules.exceptions[name]['reason']}" for name in used]
    lines.append(f"licences: {len(licences)} packages, {len(problems)} findings")
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stderr.write("".join(f"licences: {problem}\n" for problem in problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
