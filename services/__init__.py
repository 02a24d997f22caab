"""The services: connector, scanner, engine and simulator, and what they share."""

from __future__ import annotations
