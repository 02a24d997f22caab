"""One declarative profile per venue; `find_profile` picks by ccxt id."""

from __future__ import annotations
