"""Which streams are open, and what news makes of a finding: the pure parts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.scanner.instruments import InstrumentKey, InstrumentKind
from services.scanner.live_feeds import MAX_SYMBOLS, Feed, FeedKind, plan_feeds

SPOT, PERPETUAL = InstrumentKind.SPOT, InstrumentKind.PERPETUAL
_legs = st.sets(
    st.builds(
        lambda venue, number: InstrumentKey(
            f"v{venue}", f"S{number}", PERPETUAL if venue else SPOT
        ),
        st.integers(0, 2),
        st.integers(0, 250),
    ),
    max_size=400,
)


def prices(*symbols: str) -> Feed:
    """Return a stream of prices of the spot venue."""
    return Feed("v0", FeedKind.PRICES, symbols)


def spot(*symbols: str) -> list[InstrumentKey]:
    """Return legs of the spot venue."""
    return [InstrumentKey("v0", symbol, SPOT) for symbol in symbols]


@given(st.lists(_legs, min_size=1, max_size=4))
def test_every_leg_is_covered_and_no_stream_is_idle(rounds: list[set[InstrumentKey]]) -> None:
    """However the shortlist moves, every leg has its streams and their number is bounded."""
    feeds: frozenset[Feed] = frozenset()
    for legs in rounds:
        feeds = plan_feeds(feeds, legs)
        told = {(feed.venue, symbol) for feed in feeds for symbol in feed.symbols}
        assert {(leg.venue, leg.symbol) for leg in legs} <= told
        rates = {feed.venue for feed in feeds if feed.kind is FeedKind.RATES}
        assert rates == {leg.venue for leg in legs if leg.kind is PERPETUAL}
        assert all(len(feed.symbols) <= MAX_SYMBOLS for feed in feeds)
        assert {feed.venue for feed in feeds} == {leg.venue for leg in legs}
        assert len(told) <= 2 * len(legs)
        assert plan_feeds(feeds, legs) == feeds


def test_a_shortlist_that_moves_a_little_moves_one_stream() -> None:
    """What stands is kept, what is new gets its own, what is mostly unwanted goes."""
    first = plan_feeds((), spot("A", "B", "C", "D"))
    assert first == {prices("A", "B", "C", "D")}
    second = plan_feeds(first, spot("A", "B", "E"))
    assert second == {prices("A", "B", "C", "D"), prices("E")}
    assert plan_feeds(second, spot("A", "E")) == {prices("A"), prices("E")}


def test_too_many_small_streams_are_made_into_one() -> None:
    """A connector's streams are not worn down to one for each symbol."""
    feeds = plan_feeds((), spot("A"))
    for last in "BCDE":
        feeds = plan_feeds(feeds, spot(*(chr(each) for each in range(ord("A"), ord(last) + 1))))
    assert feeds == {prices("A", "B", "C", "D", "E")}
