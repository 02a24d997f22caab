"""The engine's status page: facts gathered, written as HTML, served over HTTP; read-only."""

from __future__ import annotations
