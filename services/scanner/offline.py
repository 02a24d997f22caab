"""What the commands that need no service share: options, and input refused in a sentence."""

from __future__ import annotations

import argparse
import sys

from services.common.settings_loader import SettingsProblemsError

EXIT_USAGE = 2
MAX_COUNT = 10_000


def whole_number(text: str, least: int, most: int) -> int:
    """Return an option that is a whole number; raise ArgumentTypeError outside the bounds."""
    # int() takes spaces, underscores and the digits of every script.
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(most))):
        raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}")
    value = int(text)
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}")
    return value


def count(text: str) -> int:
    """Return an option that counts; raise ArgumentTypeError unless it is 1 to 10,000."""
    return whole_number(text, 1, MAX_COUNT)


def in_words(error: Exception) -> str:
    """Return what is wrong with the input; of settings every problem."""
    if isinstance(error, SettingsProblemsError):
        return "; ".join(f"{each.path}: {each.text}" for each in error.problems)
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def refuse(program: str, problem: str, code: int = EXIT_USAGE) -> int:
    """Write one sentence to stderr and return the exit code."""
    sys.stderr.write(f"{program}: {problem}\n")
    return code
