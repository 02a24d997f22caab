"""structlog without rich: a tenth of a second less of every start, for tracebacks nobody draws.

structlog imports rich wherever it is installed, as it is beside `arb`; our tracebacks are text.
"""

from __future__ import annotations

import sys

_had_rich = "rich" in sys.modules
if not _had_rich:
    # None makes an import of that name fail as if it were not installed.
    sys.modules["rich"] = None  # type: ignore[assignment]  # the import system's own marker
try:
    import structlog
finally:
    if not _had_rich:
        del sys.modules["rich"]

__all__ = ["structlog"]
