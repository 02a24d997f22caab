"""Opportunities on their subjects, and how a scanner shows itself to a guarded server."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.js.api import DeliverPolicy

from opensqt.market_maker.v1 import opportunity_pb2
from services.common.clock import SystemClock
from services.common.errors import UnreachableError
from services.scanner.codec import encode_opportunity
from services.scanner.nats_lease import NatsLease
from services.scanner.nats_link import open_link
from services.scanner.nats_names import NatsNames
from services.scanner.nats_settings import NatsSettings
from services.scanner.tasks import VenueTask
from services.scanner.venue_codec import Read, Reading
from tests.support.certificates import CertificateAuthority
from tests.support.nats_server import PROGRAM, nats_server
from tests.support.plain_opportunity import plain_opportunity
from tests.support.queue_peers import fees, peer
from tests.support.scanner_rig import until

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(PROGRAM is None, reason="needs nats-server (Debian package nats-server)"),
]
SUBJECT = "opensqt.opportunities.{}:spot=2Ety:spot:perpy:perpetual"


async def answer(_task: VenueTask) -> Reading:
    """Tell nothing."""
    return Read({})


async def test_opportunities_are_on_their_subjects(tmp_path: Path) -> None:
    """A reader gets each change, a late one the last word of each subject, also after a loss."""
    async with nats_server(tmp_path / "nats") as server, peer(server.address, answer) as scanner:
        heard: list[Any] = []

        async def hear(message: Any) -> None:
            heard.append(message)

        async def on_error(_error: Exception) -> None:
            """Say nothing: the server is killed on purpose."""

        reader = await nats.connect(server.address, reconnect_time_wait=0.1, error_cb=on_error)
        await reader.subscribe("opensqt.opportunities.>", cb=hear)
        await reader.flush()
        first, second = plain_opportunity("AUSDT", revision=7), plain_opportunity("BUSDT")
        for each in (first, second):
            scanner.hub.upsert(each.opportunity_id, each)
        scanner.hub.remove(second.opportunity_id)
        scanner.hub.upsert(second.opportunity_id, second)
        await until(lambda: len(heard) >= 2)
        scanner.hub.remove(second.opportunity_id)
        await until(lambda: heard[-1].headers["Opensqt-Event"] == "removed")
        told = heard[0]
        assert told.subject == SUBJECT.format("AUSDT")
        assert told.headers["Opensqt-Revision"] == "7"
        assert opportunity_pb2.Opportunity.FromString(told.data) == encode_opportunity(first)
        assert (heard[-1].subject, heard[-1].data) == (SUBJECT.format("BUSDT"), b"")

        await server.kill()
        scanner.hub.remove(first.opportunity_id)
        scanner.hub.upsert("C", plain_opportunity("CUSDT"))
        await server.start()
        late: dict[str, str] = {}

        async def is_told() -> bool:
            late.clear()
            try:
                last = await reader.jetstream(timeout=0.5).subscribe(
                    "opensqt.opportunities.>", deliver_policy=DeliverPolicy.LAST_PER_SUBJECT
                )
                while len(late) < 3:
                    message = await last.next_msg(timeout=0.5)
                    late[message.subject] = (message.headers or {})["Opensqt-Event"]
            except nats.errors.Error:
                return False
            return late[SUBJECT.format("AUSDT")] == "removed"

        await until(is_told)
        assert late[SUBJECT.format("BUSDT")] == "removed"
        assert late["opensqt.opportunities.C"] == "upsert"
        await reader.close()


async def test_of_two_scanners_on_a_prefix_one_publishes(tmp_path: Path) -> None:
    """The other's list stays off the subjects until the first has nothing to say or stops."""
    mine, yours = (plain_opportunity("AUSDT", revision=number) for number in (1, 2))
    async with nats_server(tmp_path / "nats") as server:
        reader = await nats.connect(server.address)
        heard: list[str | None] = []

        async def hear(message: Any) -> None:
            heard.append((message.headers or {}).get("Opensqt-Revision"))

        await reader.subscribe("opensqt.opportunities.>", cb=hear)
        await reader.flush()
        async with peer(server.address, answer) as second:
            async with peer(server.address, answer) as first:
                first.hub.upsert(mine.opportunity_id, mine)
                await until(lambda: heard == ["1"])
                second.hub.upsert(yours.opportunity_id, yours)
                # Both go on with tasks for each other; of the second's list nothing is heard.
                for scanner in (first, second):
                    assert [end.error for end in await scanner.runner.run(fees(3))] == [None] * 3
                first.hub.upsert(mine.opportunity_id, mine)
                await until(lambda: len(heard) == 2)
                assert heard == ["1", "1"]
            await until(lambda: heard[-1] == "2")
        await reader.close()


async def test_a_lease_runs_out_with_its_holder(tmp_path: Path) -> None:
    """Nobody takes what another holds; a holder that says nothing more loses it, and knows."""
    clock, names = SystemClock(), NatsNames("opensqt")
    async with nats_server(tmp_path / "nats") as server:
        settings = NatsSettings(servers=(server.address,))
        async with open_link(settings, clock) as link:
            first, second, again = (
                NatsLease(link, names, owner, clock, is_wanted=lambda: True, lease_seconds=3)
                for owner in ("first", "second", "first")
            )
            await first.prepare()
            assert await first.take()
            assert not await second.take()
            # A holder that missed the answer to its word finds it, and goes on from there.
            assert not await again.take()
            assert await again.take()
            assert not await first.take()
            assert not first.is_mine
            await until(second.take, seconds=60)
            assert second.is_mine
            assert not again.is_mine


async def refused(address: str, **options: Any) -> str:
    """Return what a scanner says that the server does not let in."""
    with pytest.raises(UnreachableError) as caught:
        async with peer(address, answer, **options):
            pytest.fail("it was let in")
    assert caught.value.reason == "QUEUE_UNREACHABLE"
    return str(caught.value)


async def works(address: str, **options: Any) -> bool:
    """Tell whether a scanner that shows itself so gets a task done."""
    async with peer(address, answer, **options) as scanner:
        (end,) = await scanner.runner.run(fees(1))
        return end.error is None


async def test_tokens_and_passwords_come_from_files(tmp_path: Path) -> None:
    """The right secret lets in; the wrong one is a clear error that does not tell it."""
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("correct-horse\n")
    wrong.write_text("battery-staple\n")
    async with nats_server(tmp_path / "token", "--auth", "correct-horse") as server:
        assert await works(server.address, token_file=right)
        told = await refused(server.address, token_file=wrong)
        assert "Authorization" in told
        assert "battery" not in told
    options = ("--user", "scanner", "--pass", "correct-horse")
    async with nats_server(tmp_path / "password", *options) as server:
        assert await works(server.address, user="scanner", password_file=right)


async def test_certificates_prove_both_sides(tmp_path: Path) -> None:
    """With a client CA a scanner without certificate stays out, and so does a false server."""
    authority = CertificateAuthority(tmp_path)
    stranger = CertificateAuthority(tmp_path, "stranger-ca")
    server_files, own = authority.issue("server"), authority.issue("scanner")
    options = ["--tlsverify", "--tlscacert", str(authority.file)]
    options += ["--tlscert", str(server_files.certificate), "--tlskey", str(server_files.key)]
    pair = {"certificate_file": own.certificate, "key_file": own.key}
    async with nats_server(tmp_path / "nats", *options) as server, asyncio.TaskGroup() as group:
        assert await works(server.address, tls={"ca_file": authority.file, **pair})
        group.create_task(refused(server.address, tls={"ca_file": authority.file}))
        group.create_task(refused(server.address, tls={"ca_file": stranger.file, **pair}))
