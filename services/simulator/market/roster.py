"""Who is listed on a generated market: well-known names with fixed traits, then drawn ones.

The first entries cover every trait a client must cope with, so that a small market has them too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

from services.simulator.market.noise import between, key_of, unit


class Regime(StrEnum):
    """How the funding of a symbol behaves."""

    QUIET = "quiet"
    POSITIVE = "positive"
    NEGATIVE = "negative"
    FLIPPING = "flipping"
    DEAD = "dead"
    HOT_POSITIVE = "hot_positive"
    HOT_NEGATIVE = "hot_negative"


@dataclass(frozen=True, slots=True)
class Profile:
    """The traits of one perpetual and its spot twin.

    ``price`` is per single coin, ``day_turnover`` in quote; ages count back from the start of the
    market. ``earlier_interval_hours`` held until ``interval_change_age_days`` ago.
    """

    base: str
    price: float
    day_turnover: float
    interval_hours: int = 4
    regime: Regime = Regime.QUIET
    multiplier: int = 1
    has_spot: bool = True
    is_spot_ended: bool = False
    age_days: int = 700
    ended_age_days: int | None = None
    earlier_interval_hours: int | None = None
    interval_change_age_days: int = 0


FEATURED: Final = (
    Profile("BTC", 68_000.0, 1.5e10, 8),
    Profile("ETH", 3_500.0, 9e9, 8),
    Profile("SOL", 150.0, 3e9, 8, Regime.POSITIVE),
    Profile("PEPE", 8.9e-6, 6e8, 4, Regime.POSITIVE, multiplier=1000),
    Profile("BTCDOM", 2_400.0, 4e6, 4, Regime.FLIPPING, has_spot=False),
    Profile("OMG", 0.62, 3e6, 8, ended_age_days=9),
    Profile(
        "XRP",
        0.61,
        1.4e9,
        4,
        Regime.FLIPPING,
        earlier_interval_hours=8,
        interval_change_age_days=12,
    ),
    Profile("SUPER", 0.83, 1.8e7, 1, Regime.HOT_POSITIVE),
    Profile("AXL", 0.71, 9e6, 2, Regime.POSITIVE),
    Profile("DEFI", 870.0, 1.2e6, 4, Regime.DEAD, has_spot=False),
    Profile("NEWT", 0.34, 4e7, 4, Regime.POSITIVE, age_days=3),
    Profile("REN", 0.052, 5e6, 4, Regime.NEGATIVE, is_spot_ended=True),
    Profile("MOVR", 11.4, 1.1e7, 4, Regime.HOT_NEGATIVE),
    Profile("BNB", 590.0, 1.2e9, 8),
    Profile("DOGE", 0.158, 1.1e9, 8, Regime.POSITIVE),
    Profile("IOST", 0.0081, 2.4e6, 4, Regime.DEAD),
    Profile(
        "TRB",
        71.0,
        9e7,
        1,
        Regime.HOT_NEGATIVE,
        earlier_interval_hours=4,
        interval_change_age_days=5,
    ),
    Profile(
        "GAS",
        4.3,
        1.4e7,
        4,
        Regime.POSITIVE,
        earlier_interval_hours=1,
        interval_change_age_days=20,
    ),
    Profile("SHIB", 1.79e-5, 1.6e8, 8, multiplier=1000),
    Profile("BONK", 2.31e-5, 1.3e8, 4, Regime.FLIPPING, multiplier=1000),
    Profile("MOG", 1.7e-6, 2.1e7, 4, Regime.POSITIVE, multiplier=1_000_000, has_spot=False),
    Profile("ADA", 0.44, 4e8, 8),
    Profile("LINK", 14.2, 3.2e8, 8, Regime.POSITIVE),
    Profile("AVAX", 27.5, 3e8, 8, Regime.POSITIVE),
    Profile("LTC", 83.0, 2.8e8, 8),
    Profile("TRX", 0.124, 1.5e8, 8, Regime.NEGATIVE),
    Profile("FLOKI", 1.6e-4, 5e7, 4, Regime.POSITIVE, multiplier=1000),
)

_NAMES: Final = """
BCH DOT UNI NEAR APT ARB OP SUI SEI TIA INJ FIL ATOM ETC XLM HBAR ICP VET ALGO AAVE MKR CRV LDO
SNX COMP SUSHI YFI GRT SAND MANA AXS GALA ENJ CHZ FLOW EGLD THETA KAVA ZIL ONE QTUM NEO IOTA XTZ
EOS DASH ZEC WAVES KSM RUNE BAT ZRX KNC BAND STORJ ANKR CELR CTSI SKL OCEAN FET AGIX RNDR IMX
GMX DYDX BLUR MAGIC HIGH HOOK ID EDU CYBER ARKM WLD PENDLE ORDI BEAMX BIGTIME PYTH JTO ACE XAI
MANTA ALT JUP DYM STRK PIXEL PORTAL AEVO ENA W TNSR SAGA OMNI REZ NOT IO ZK LISTA ZRO RENDER
BANANA DOGS CATI HMSTR EIGEN SCR GRASS DRIFT SWELL COW CETUS PNUT ACT THE USUAL MOVE ME VANA
PENGU VIRTUAL AIXBT SONIC TRUMP MELANIA PLUME BERA LAYER IP SHELL KAITO RED EPIC BMT FORM NIL
PARTI WCT KERNEL HYPER INIT SIGN STO HAEDAL NXPC SOPH HUMA RESOLV HOME SPK SAHARA ERA TREE TOWNS
PROVE LINEA WLFI OPEN AVNT BARD ZKC HEMI XPL FF EDEN ASTER EUL ENSO YB TURTLE KITE ALLO MET
SAPIEN API3 ROSE LRC MASK JASMY GMT APE WOO FTM CELO GLMR ASTR ACH PEOPLE SPELL LINA REEF DENT
HOT SXP RVN ZEN ICX ONT IOTX BLZ RLC CKB COTI STMX TLM DODO PERP ALICE LIT BEL UNFI TOMO CVC CTK
NKN OGN ARPA MTL KLAY ARK POLYX LOOM STEEM WAXP RIF LQTY MINA PHB AMB LEVER RDNT HFT XVS JOE ACX
SSV STG DUSK FXS QNT MAV XVG WAN NMR MDT OXT HIFI GLM POWR SLP SNT BOND ORBS TWT BICO BSV TOKEN
VANRY ETHW USTC AUCTION CAKE MEME BADGER ILV NTRN KAS BNX BAKE NFP AI LSK RARE VIDT SUN SYN
CHESS FIDA FIO VOXEL DEGEN KDA MOODENG GOAT DEXE AVA VELODROME MORPHO AERO KMNO ORCA PROM PIPPIN
"""
DRAWN_NAMES: Final = tuple(_NAMES.split())

_T = TypeVar("_T")

_REGIMES: Final = (
    (Regime.QUIET, 0.36),
    (Regime.POSITIVE, 0.24),
    (Regime.NEGATIVE, 0.12),
    (Regime.FLIPPING, 0.19),
    (Regime.DEAD, 0.04),
    (Regime.HOT_POSITIVE, 0.03),
    (Regime.HOT_NEGATIVE, 0.02),
)
_INTERVALS: Final = ((4, 0.70), (8, 0.24), (1, 0.04), (2, 0.02))


def make_roster(seed: int, count: int) -> list[Profile]:
    """Return ``count`` profiles, distinct by base; the same seed gives the same ones."""
    roster = list(FEATURED[:count])
    taken = {profile.base for profile in FEATURED}
    # Not a set: its order would differ between processes.
    names = [name for name in dict.fromkeys(DRAWN_NAMES) if name not in taken]
    for number in range(count - len(roster)):
        name = names[number] if number < len(names) else f"COIN{number}"
        roster.append(_draw(seed, name))
    return roster


def _draw(seed: int, base: str) -> Profile:
    # A numbered point for each trait: one more trait leaves the others as they are.
    key = key_of(seed, "roster", base)
    interval = _pick(_INTERVALS, unit(key, 0))
    changed = unit(key, 1) < 0.03
    earlier = 8 if interval == 4 else 4
    is_new = unit(key, 2) < 0.05
    # A new listing has no past in which to end or to change its interval.
    ended = not is_new and unit(key, 3) < 0.015
    return Profile(
        base=base,
        price=math.exp(between(key, 4, math.log(0.003), math.log(30.0))),
        day_turnover=10.0 ** (6.2 + 2.3 * unit(key, 5) ** 1.6),
        interval_hours=interval,
        regime=_pick(_REGIMES, unit(key, 6)),
        has_spot=unit(key, 7) >= 0.06,
        is_spot_ended=unit(key, 8) < 0.03,
        age_days=round(between(key, 9, 2, 60) if is_new else between(key, 9, 120, 1500)),
        ended_age_days=round(between(key, 10, 2, 40)) if ended else None,
        earlier_interval_hours=earlier if changed and not is_new else None,
        interval_change_age_days=round(between(key, 11, 2, 28)),
    )


def _pick(choices: tuple[tuple[_T, float], ...], point: float) -> _T:
    for choice, share in choices:
        point -= share
        if point < 0:
            return choice
    # Shares added up as floats may stop just short of one.
    return choices[-1][0]
