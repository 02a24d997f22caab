"""Chores of the repository that the Makefile calls; nothing here is installed."""

from __future__ import annotations
