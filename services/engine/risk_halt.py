"""Whether a start is halted: the halt outlives the journal, and what cannot be read is a halt."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HaltFlag:
    """What the flag beside the journal says; `problem` is why it could not be read, else empty.

    `known` is false where there is no flag at all; `used` tells that the journal had rows when it
    was written.
    """

    known: bool
    used: bool = False
    halted: bool = False
    reason: str = ""
    problem: str = ""


def halt_at_start(flag: HaltFlag, journal_word: str, *, journal_is_empty: bool) -> str:
    """Return why an engine starts halted; empty when nothing is against entries.

    `journal_word` is why the journal says so, empty when it does not: either word of a halt stands.
    A journal with rows beside no flag, or an empty one beside a flag that knew of rows, tells that
    one of the two was lost: that is a halt as well. With neither, this is the first start.
    """
    if flag.problem:
        return f"the halt flag cannot be read: {flag.problem}"
    if flag.halted:
        return flag.reason or "halted before"
    if journal_word:
        return journal_word
    if flag.used and journal_is_empty:
        return "the journal is empty, yet this engine has traded before: it was lost or moved"
    if not flag.known and not journal_is_empty:
        return "the halt flag is missing"
    return ""
