"""What a worker process can live in: named functions, so that they can be sent to it."""

from __future__ import annotations

import logging

import structlog

from simulation.plants import Part
from simulation.swarm_workers import Lives, Stage


def system_stage() -> Lives:
    """Return the lives of the whole system: engine, connectors, ccxt and the venue's core."""
    # Here and not above: the help must not take the time that ccxt takes to load.
    from simulation.swarm_life import KNOWN_KINDS, SystemLife

    return Lives(SystemLife, KNOWN_KINDS)


def engine_stage() -> Lives:
    """Return the lives of the engine alone over small venues: many more of them in a second."""
    from tests.support.rig_life import KINDS, RigLife

    # Pages of tracebacks of what faults and planted bugs do would hide what was found.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    return Lives(RigLife, KINDS)


def stages_of(part: Part) -> tuple[Stage, ...]:
    """Return where a planted bug of this part is looked for, the quickest first.

    What an engine does wrong may be caught by a sound connector: it must show without one too.
    """
    return (engine_stage, system_stage) if part is Part.ENGINE else (system_stage,)
