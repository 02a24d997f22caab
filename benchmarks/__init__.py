"""Measurements of the running parts; each program prints a table and ends with one JSON line."""

from __future__ import annotations
