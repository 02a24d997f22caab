"""The account of paper trading: it opens nothing but a paper venue, so it is no secret."""

from __future__ import annotations

from typing import Final

PAPER_ACCOUNT: Final = "paper"
PAPER_KEY: Final = "paper"
PAPER_SECRET: Final = "paper"  # noqa: S105 - opens an account of made-up money, and nothing else
