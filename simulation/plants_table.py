"""All planted bugs by name."""

from __future__ import annotations

from typing import Final

from simulation import plants_connector, plants_proofs, plants_sizes, plants_system
from simulation.plants import Plant

PLANTS: Final[dict[str, Plant]] = {
    plant.name: plant
    for plant in (
        *plants_proofs.PLANTS,
        *plants_sizes.PLANTS,
        *plants_connector.PLANTS,
        *plants_system.PLANTS,
    )
}
"""Every bug, in the order it is told of."""
