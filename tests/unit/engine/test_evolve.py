"""A changed copy is what `dataclasses.replace` makes, without its constructor."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from services.engine.evolve import evolved


@dataclass(frozen=True, slots=True)
class _Record:
    name: str
    count: int = 0
    memory: dict[str, int] = field(default_factory=dict, init=False, compare=False)


def test_named_fields_change_and_all_others_stay() -> None:
    """The original keeps its values, the copy has the new ones, equal to a replaced one."""
    record = _Record("first", 3)
    changed = evolved(record, count=4)
    assert changed == replace(record, count=4) == _Record("first", 4)
    assert record.count == 3


def test_a_field_outside_the_constructor_is_carried_along() -> None:
    """What was worked out for a record is kept unless it is named."""
    record = _Record("first")
    record.memory["sum"] = 1
    assert evolved(record, count=1).memory is record.memory
    assert evolved(record, count=1, memory={}).memory == {}


def test_an_unknown_field_is_refused() -> None:
    """A name that the record does not have is an error, as in `replace`."""
    with pytest.raises(TypeError, match="_Record has no field total"):
        evolved(_Record("first"), total=1)
