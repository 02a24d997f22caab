"""The status page in a real browser, desk and phone; PAGE_SHOTS=DIR keeps the pictures."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.common.clock import SystemClock
from services.common.metrics import ServiceMetrics
from services.common.scopes import Role
from services.common.settings import PrincipalSettings, ServerSettings
from services.engine.page.facts import PageFacts
from services.engine.page.server import serving_page
from services.engine.page.settings import PageSettings
from tests.support.page_samples import calm_facts, troubled_facts

BROWSER = shutil.which("chromium")
TOKEN = "browser-token-0123456789"
WIDTHS = {"desk": 1280, "phone": 390}
pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(120),
    pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed"),
]
# The measuring frame is as wide as the phone: a headless window is never narrower than 500.
FRAME = """<!doctype html><body style="margin:0"><iframe id=f width={width} height=2000
style="border:0" src="page.html"></iframe><script>addEventListener("load",()=>{{
const d=document.getElementById("f").contentDocument,w=d.documentElement.clientWidth;
const wide=[...d.querySelectorAll("body *")].filter(e=>e.getBoundingClientRect().right>w+1);
document.title="measured";document.body.append("WIDTH="+w+" SCROLL="+d.documentElement.scrollWidth
+" OUTSIDE="+wide.length+" COLOR="+d.defaultView.getComputedStyle(d.body).backgroundColor)}})
</script>"""


@dataclass(frozen=True, slots=True)
class Always:
    """Facts that are always the same."""

    make: Callable[[], PageFacts]

    async def facts(self) -> PageFacts:
        """Return them."""
        return self.make()


async def run_browser(folder: Path, *arguments: str) -> tuple[str, str]:
    """Run Chromium without a window until it ends; return what it printed and what it logged."""
    assert BROWSER is not None
    switches = (
        "--headless --no-sandbox --disable-gpu --hide-scrollbars --enable-logging=stderr"
        f" --allow-file-access-from-files --user-data-dir={folder}/profile"
    )
    process = await asyncio.create_subprocess_exec(
        BROWSER,
        *switches.split(),
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, log = await process.communicate()
    return out.decode(errors="replace"), log.decode(errors="replace")


def shots(folder: Path) -> Path:
    """Return where pictures go: a folder to look at, else one that ends with the test."""
    kept = Path(os.environ.get("PAGE_SHOTS", folder))
    kept.mkdir(parents=True, exist_ok=True)
    return kept


def png_size(path: Path) -> tuple[int, int]:
    """Return width and height of a PNG, which stand at its beginning."""
    width, height = struct.unpack(">II", path.read_bytes()[16:24])
    return width, height


@pytest.mark.parametrize("screen", WIDTHS)
@pytest.mark.parametrize("make", [calm_facts, troubled_facts])
async def test_the_page_is_shown_in_full(
    tmp_path: Path, make: Callable[[], PageFacts], screen: str
) -> None:
    """A browser shows a token's owner the page, and its policy stops nothing that belongs to it."""
    token = tmp_path / "token"
    token.write_text(TOKEN)
    desk = PrincipalSettings(name="desk", roles=(Role.READER,), token_file=token)
    serving = serving_page(
        PageSettings(),
        ServerSettings(principals=(desk,)),
        ServiceMetrics("engine"),
        SystemClock(),
    )
    async with serving as page:
        page.show(Always(make))
        picture = shots(tmp_path) / f"{make.__name__}-{screen}.png"
        # Without a limit the page's own refresh would keep the browser at work for ever.
        out, log = await run_browser(
            tmp_path,
            f"--window-size={WIDTHS[screen]},2400",
            f"--screenshot={picture}",
            "--dump-dom",
            f"http://reader:{TOKEN}@{page.address}/",
        )
    assert png_size(picture) == (WIDTHS[screen], 2400)
    assert "LOOMUSDT" in out
    assert TOKEN not in out
    assert "Content Security Policy" not in log
    assert "CONSOLE" not in log


@pytest.mark.parametrize("screen", WIDTHS)
@pytest.mark.parametrize("make", [calm_facts, troubled_facts])
async def test_nothing_sticks_out_of_the_screen(
    tmp_path: Path, make: Callable[[], PageFacts], screen: str
) -> None:
    """No part of the page is wider than a phone: nobody scrolls sideways for a figure."""
    from services.engine.page.body import page_of

    text = page_of(make(), shows_offers=True)
    (tmp_path / "page.html").write_text(re.sub(r"<meta http-equiv=\"refresh\"[^>]*>", "", text))
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.format(width=WIDTHS[screen]))
    out, _ = await run_browser(tmp_path, "--dump-dom", frame.as_uri())
    width = WIDTHS[screen]
    assert f"WIDTH={width} SCROLL={width} OUTSIDE=0" in out
    # The style sheet is in force: without it the page would be white.
    assert "COLOR=rgb(244, 245, 247)" in out
