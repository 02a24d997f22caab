"""The `arb` command and the demo: what a person runs."""

from __future__ import annotations
