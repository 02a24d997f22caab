"""The word by which a caller tells a connector that no trade waits for its reads.

Sent in a call's metadata. A connector keeps such reads in a lane of their own, so that a scan of
hundreds of instruments delays nothing that is read before an entry.
"""

from __future__ import annotations

from typing import Final

READ_PRIORITY_KEY: Final = "read-priority"
SCAN_READ: Final = "scan"
