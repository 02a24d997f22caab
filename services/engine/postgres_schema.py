"""Tables and statements of the journal in PostgreSQL, shared by several engines.

A book is a journal of its own in the same tables; it has one lease. Times are the server's.
"""

from __future__ import annotations

from typing import Final

from services.engine.journal_parts import TOLD_KINDS

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
# As in the SQLite journal: which positions have not ended, and how to find their rows.
_LIVE: Final = """
CREATE TABLE live (
    book text NOT NULL,
    position_id text NOT NULL,
    PRIMARY KEY (book, position_id)
)
"""
_OF_POSITIONS: Final = """
CREATE INDEX journal_of_positions ON journal (book, position_id) WHERE position_id IS NOT NULL
"""
_OF_ENGINE: Final = """
CREATE INDEX journal_of_engine ON journal (book, sequence)
WHERE position_id IS NULL AND request_id IS NULL
"""
_FILL_LIVE: Final = """
INSERT INTO live (book, position_id)
SELECT book, position_id FROM (
    SELECT DISTINCT ON (book, position_id) book, position_id, kind FROM journal
    WHERE kind IN ('EntryIntended', 'ExitResumed')
        OR (kind = 'PositionSettled' AND body::json ->> 'status' <> 'open')
    ORDER BY book, position_id, sequence DESC
) AS newest
WHERE kind <> 'PositionSettled'
"""
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (_LEASES, _JOURNAL),
    (_LIVE, _OF_POSITIONS, _OF_ENGINE, _FILL_LIVE),
)
"""What brings the tables from each version to the next; those of released versions stay."""

BEGIN_MIGRATING: Final = (_TURN, _VERSIONS)
END_MIGRATING: Final = _END_TURN
READ_VERSION: Final = "SELECT coalesce(max(version), 0) FROM schema_version"


def migration(version: int) -> str:
    """Return the one statement that brings the tables to a version from the one before.

    All or nothing: what a step that failed has left would stand in the way of the next start.
    """
    noted = f"INSERT INTO schema_version VALUES ({version})"  # noqa: S608 - a number of ours
    steps = (*MIGRATIONS[version - 1], noted)
    return f"DO $migration$ BEGIN {'; '.join(steps)}; END $migration$"


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
WITH held AS (SELECT epoch FROM leases WHERE book = $1 AND epoch = $2 FOR SHARE),
changed AS (
    SELECT c.position_id, c.is_live
    FROM held, json_to_recordset($4::json) AS c(position_id text, is_live boolean)
),
begun AS (
    INSERT INTO live SELECT $1, position_id FROM changed WHERE is_live ON CONFLICT DO NOTHING
),
ended AS (
    DELETE FROM live USING changed
    WHERE live.book = $1 AND live.position_id = changed.position_id AND NOT changed.is_live
)
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
PAGE: Final = """
SELECT sequence, at, position_id, request_id, kind, version, body, digest
FROM journal WHERE book = $1 AND sequence > $2 AND sequence <= $3 ORDER BY sequence LIMIT $4
"""
_BESIDE: Final = """
SELECT r.sequence, r.at, r.position_id, r.request_id, r.kind, r.version, r.body, r.digest, p.digest
FROM journal r LEFT JOIN journal p ON p.book = r.book AND p.sequence = r.sequence - 1
WHERE r.book = $1
"""
COMMAND: Final = f"{_BESIDE} AND r.request_id = $2"
NEWEST: Final = f"{_BESIDE} AND r.sequence > $2 ORDER BY r.sequence"
_TOLD: Final = ", ".join(f"'{kind}'" for kind in TOLD_KINDS)
# OFFSET 0: row by row as it is written here. Left to itself the server goes through every row of
# the journal, for longer than a statement may take.
_OF_LIVE: Final = (
    "SELECT o.sequence FROM live l CROSS JOIN LATERAL ("  # noqa: S608 - fixed words
    "SELECT sequence FROM journal"
    f" WHERE book = l.book AND position_id = l.position_id AND kind NOT IN ({_TOLD}) OFFSET 0"
    ") AS o WHERE l.book = $1"
)
_OF_STATE: Final = (
    "SELECT sequence FROM journal WHERE book = $1 AND position_id IS NULL AND request_id IS NULL"
)
OPEN: Final = f"""
SELECT r.*, p.digest
FROM (
    SELECT sequence FROM ({_OF_LIVE} UNION {_OF_STATE}) AS wanted
    WHERE sequence > $2 ORDER BY sequence LIMIT 5000
) AS w
CROSS JOIN LATERAL (
    SELECT sequence, at, position_id, request_id, kind, version, body, digest
    FROM journal WHERE book = $1 AND sequence = w.sequence OFFSET 0
) AS r
LEFT JOIN LATERAL (
    SELECT digest FROM journal WHERE book = $1 AND sequence = w.sequence - 1 OFFSET 0
) AS p ON true
ORDER BY r.sequence
"""  # noqa: S608 - fixed words
