"""What a worker process can live in: named functions, so that they can be sent to it."""

from __future__ import annotations

from simulation.swarm_workers import Lives


def system_stage() -> Lives:
    """Return the lives of the whole system: engine, connectors, ccxt and the venue's core."""
    # Here and not above: the help must not take the time that ccxt takes to load.
    from simulation.swarm_life import KNOWN_KINDS, SystemLife

    return Lives(SystemLife, KNOWN_KINDS)
