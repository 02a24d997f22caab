"""Venue dialects: how requests are read and answers are written, one module per subject."""

from __future__ import annotations
