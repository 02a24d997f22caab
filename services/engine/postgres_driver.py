"""asyncpg as the shared journal takes it; imported when the first connection is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncpg
    from pydantic import SecretStr


class DriverSession:
    """A connection whose end never hangs on a server that is gone."""

    def __init__(self, connection: asyncpg.Connection[Any]) -> None:
        self._connection = connection

    async def fetch(self, query: str, *args: Any) -> Sequence[Any]:
        """Run a statement with $1, $2 … and return its rows."""
        rows: Sequence[Any] = await self._connection.fetch(query, *args)
        return rows

    async def close(self) -> None:
        """Hang up: each statement was a transaction of its own, nothing is left to say."""
        self._connection.terminate()


async def connect(url: str, password: SecretStr | None, *, name: str) -> DriverSession:
    """Open a connection; `name` is what the server lists it under.

    Raises OSError or asyncpg's errors where the server refuses or is not there.
    """
    # Here: an engine on SQLite needs neither the package nor the time that its import takes.
    import asyncpg

    secret = None if password is None else password.get_secret_value()
    connection = await asyncpg.connect(
        url, password=secret, server_settings={"application_name": name}
    )
    return DriverSession(connection)
