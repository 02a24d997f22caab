"""Tables and statements of the journal in PostgreSQL, shared by several engines.

A book is a journal of its own in the same tables; it has one lease. Times are the server's.
"""

from __future__ import annotations

from typing import Final

# One number for all: two engines that start together must not both make the tables.
_TURN: Final = "SELECT pg_advisory_lock(7310421902)"
_END_TURN: Final = "SELECT pg_advisory_unlock(7310421902)"
_VERSIONS: Final = "CREATE TABLE IF NOT EXISTS schema_version (version integer PRIMARY KEY)"
_LEASES: Final = """
CREATE TABLE leases (
    book text PRIMARY KEY,
    epoch bigint NOT NULL,
    holder text NOT NULL,
    expires timestamptz NOT NULL
)
"""
_JOURNAL: Final = """
CREATE TABLE journal (
    book text NOT NULL,
    sequence bigint NOT NULL,
    epoch bigint NOT NULL,
    at text NOT NULL,
    position_id text,
    request_id text,
    kind text NOT NULL,
    version integer NOT NULL,
    body text NOT NULL,
    digest text NOT NULL,
    PRIMARY KEY (book, sequence),
    UNIQUE (book, request_id)
)
"""
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = ((_LEASES, _JOURNAL),)
"""What brings the tables from each version to the next; those of released versions stay."""

BEGIN_MIGRATING: Final = (_TURN, _VERSIONS)
END_MIGRATING: Final = _END_TURN
READ_VERSION: Final = "SELECT coalesce(max(version), 0) FROM schema_version"
WRITE_VERSION: Final = "INSERT INTO schema_version VALUES ($1)"

# Milliseconds since 1970, so that a database begun anew is not below the one that was lost.
GRANT: Final = """
WITH before AS (SELECT holder FROM leases WHERE book = $1)
INSERT INTO leases (book, epoch, holder, expires)
VALUES (
    $1, floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint, $2,
    clock_timestamp() + $3::bigint * interval '1 millisecond'
)
ON CONFLICT (book) DO UPDATE SET
    epoch = greatest(leases.epoch + 1, excluded.epoch),
    holder = excluded.holder,
    expires = excluded.expires
WHERE leases.expires <= clock_timestamp() OR leases.holder = excluded.holder
RETURNING epoch, (SELECT holder FROM before)
"""
HOLDER: Final = "SELECT holder FROM leases WHERE book = $1"
RENEW: Final = """
UPDATE leases SET expires = clock_timestamp() + $3::bigint * interval '1 millisecond'
WHERE book = $1 AND epoch = $2 RETURNING epoch
"""
RELEASE: Final = "UPDATE leases SET expires = clock_timestamp() WHERE book = $1 AND epoch = $2"

# The lock on the lease holds a grant back until these rows are durable, and a grant that was first
# leaves nothing to join with: rows of an old epoch cannot follow those of a new one.
APPEND: Final = """
WITH held AS (SELECT epoch FROM leases WHERE book = $1 AND epoch = $2 FOR SHARE)
INSERT INTO journal
    (book, sequence, epoch, at, position_id, request_id, kind, version, body, digest)
SELECT $1, r.sequence, held.epoch, r.at, r.position_id, r.request_id, r.kind, r.version, r.body,
    r.digest
FROM held, json_to_recordset($3::json) AS r(
    sequence bigint, at text, position_id text, request_id text, kind text, version integer,
    body text, digest text
)
RETURNING sequence
"""
HEAD: Final = """
SELECT sequence, digest FROM journal WHERE book = $1 ORDER BY sequence DESC LIMIT 1
"""
ROWS: Final = """
SELECT sequence, at, position_id, request_id, kind, version, body, digest
FROM journal WHERE book = $1 AND sequence > $2 ORDER BY sequence LIMIT 5000
"""
