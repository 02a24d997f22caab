"""Parts of the demo: config files, the venue's books, the closing JSON."""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.demo.books import Books, changed_coins
from cli.demo.processes import StackError
from cli.demo.result import Evidence, summary
from cli.demo.stack import LocalStack, StackOptions
from cli.demo.toml_text import to_toml
from opensqt.market_maker.v1 import engine_pb2, instrument_pb2, resources_pb2, scanner_pb2
from opensqt.market_maker.v1.opportunity_pb2 import Opportunity

_TEXT = st.text(alphabet=st.characters(codec="utf-8", exclude_characters="\x7f"), max_size=20)
_SCALARS = st.one_of(st.booleans(), st.integers(-(2**62), 2**62), _TEXT)
_KEYS = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
_TABLES = st.recursive(
    st.dictionaries(_KEYS, _SCALARS, max_size=4),
    lambda inner: st.dictionaries(
        _KEYS, st.one_of(_SCALARS, inner, st.lists(inner, max_size=2)), max_size=4
    ),
    max_leaves=12,
)


@given(_TABLES)
def test_what_is_written_is_what_the_services_read(table: dict[str, object]) -> None:
    """A TOML reader gives the same values back."""
    assert tomllib.loads(to_toml(table)) == table


def test_paths_and_decimals_are_text_and_none_is_left_out() -> None:
    """The settings' types read them from text."""
    text = to_toml({"path": Path("a") / "b", "size": Decimal("0.10"), "none": None})
    assert tomllib.loads(text) == {"path": "a/b", "size": "0.10"}


def _books(coins: dict[str, str], positions: dict[str, str] | None = None) -> Books:
    return Books(
        coins={asset: Decimal(amount) for asset, amount in coins.items()},
        positions={symbol: Decimal(size) for symbol, size in (positions or {}).items()},
        funding_by_symbol={},
        duplicate_ids=(),
    )


def test_a_coin_that_came_or_went_is_a_change() -> None:
    """Also one that only one of the books knows; quote assets do not count."""
    before = _books({"BTC": "1", "ETH": "2", "USDT": "10"})
    after = _books({"BTC": "1", "SOL": "3", "USDT": "99"})
    changes = changed_coins(before, after, frozenset({"USDT"}))
    assert changes == {"ETH": Decimal(-2), "SOL": Decimal(3)}


def _info(kind: instrument_pb2.InstrumentKind.ValueType, lot: str) -> resources_pb2.SymbolInfo:
    info = resources_pb2.SymbolInfo(
        symbol="ABCUSDT", exchange_symbol="ABCUSDT", base_asset="ABC", kind=kind
    )
    info.step_size.value = lot
    return info


def _evidence(after: Books) -> Evidence:
    spot, perpetual = (
        instrument_pb2.INSTRUMENT_KIND_SPOT,
        instrument_pb2.INSTRUMENT_KIND_PERPETUAL,
    )
    position = engine_pb2.HedgedPosition(
        symbol="ABCUSDT", state=engine_pb2.HEDGED_POSITION_STATE_CLOSED
    )
    for leg, kind in ((position.long_leg, spot), (position.short_leg, perpetual)):
        leg.instrument.symbol = "ABCUSDT"
        leg.instrument.exchange = str(kind)
        leg.instrument.kind = kind
    position.dust_quantity.value = "0.04"
    return Evidence(
        scan=scanner_pb2.Scan(),
        opportunity=Opportunity(),
        opened=position,
        closed=position,
        infos=(_info(spot, "0.01"), _info(perpetual, "0.1")),
        before=_books({"ABC": "12.5", "BTC": "1"}),
        after=after,
    )


@pytest.mark.parametrize(
    ("coins", "positions", "flat", "untouched"),
    [
        ({"ABC": "12.54", "BTC": "1"}, {}, True, True),
        ({"ABC": "12.5", "BTC": "1"}, {}, True, True),
        ({"ABC": "12.54", "BTC": "1"}, {"ABCUSDT": "-0.1"}, False, True),
        ({"ABC": "12.7", "BTC": "1"}, {}, False, False),
        ({"ABC": "12.44", "BTC": "1"}, {}, True, False),
        ({"ABC": "12.54", "BTC": "0.9"}, {}, True, False),
    ],
)
def test_flat_and_untouched_are_what_the_venues_books_say(
    coins: dict[str, str], positions: dict[str, str], flat: bool, untouched: bool
) -> None:
    """The engine's word alone makes nothing flat; a user's coin less is a touch."""
    result = summary(_evidence(_books(coins, positions)))
    assert result["flat"] is flat
    assert result["foreign_balance_untouched"] is untouched


async def test_a_connector_that_does_not_come_up_is_one_plain_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two start at once, yet the caller catches a StackError and no group of them."""

    async def launch(stack: LocalStack, name: str, _module: str, _table: object) -> None:
        if name.startswith("connector"):
            raise StackError(f"{name} ended while starting")
        stack.addresses[name] = "127.0.0.1:1"

    monkeypatch.setattr(LocalStack, "_launch", launch)
    with pytest.raises(StackError, match="connector-binance ended while starting"):
        await LocalStack(tmp_path, StackOptions()).start()
