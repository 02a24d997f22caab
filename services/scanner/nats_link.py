"""One connection to a NATS server: found at the start or not at all, waited for when lost later."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import ConsumerConfig, StreamConfig
from nats.js.errors import BadRequestError

from services.common.errors import FatalError, UnreachableError
from services.common.logs import get_logger
from services.common.settings import read_secret
from services.common.task_end import end_task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from services.common.clock import Clock
    from services.common.settings import ClientTlsSettings
    from services.scanner.nats_settings import NatsSettings

CONNECT_SECONDS = 5
REQUEST_SECONDS = 2.0
_RETRY_SECONDS = 0.2
_STREAM_NAME_IN_USE = 10058
_log = get_logger(__name__)


class NatsLink:
    """A connection that comes back by itself, with the streams and consumers that were asked for.

    After a reconnect these are made anew where the server lost them, then the listeners are called.
    """

    def __init__(self, settings: NatsSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._streams: dict[str, StreamConfig] = {}
        self._consumers: dict[tuple[str, str], ConsumerConfig] = {}
        self._up = asyncio.Event()
        self._down = asyncio.Event()
        self._on_return: list[Callable[[], Awaitable[None]]] = []
        self._on_outage: list[Callable[[UnreachableError], None]] = []
        self._outage: UnreachableError | None = None
        self.generation = 0
        """Grows with every loss: a message of before must not be spoken of to a server that may
        have forgotten it and given its place to another.
        """
        self.client = Client()
        self.streams = self.client.jetstream(timeout=REQUEST_SECONDS)

    @property
    def is_up(self) -> bool:
        """Whether the connection stands now."""
        return self._up.is_set() and not self._down.is_set()

    @property
    def outage(self) -> UnreachableError | None:
        """The error of an outage that lasted longer than the settings let scans wait."""
        return self._outage

    def listen(
        self,
        on_return: Callable[[], Awaitable[None]],
        on_outage: Callable[[UnreachableError], None] | None = None,
    ) -> None:
        """Be told when the server is back after a loss, and when it stays away too long."""
        self._on_return.append(on_return)
        if on_outage is not None:
            self._on_outage.append(on_outage)

    async def connect(self) -> None:
        """Connect; raise UnreachableError QUEUE_UNREACHABLE naming the servers and the problem."""
        problems: list[str] = []

        async def on_error(error: Exception) -> None:
            # A refusal in the server's words says more than how the next connection broke.
            if not (problems and isinstance(error, OSError)):
                problems[:] = [_words(error)]
            _log.debug("queue_problem", problem=_words(error))

        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self.client.connect(
                    list(self._settings.servers),
                    name="opensqt scanner",
                    error_cb=on_error,
                    disconnected_cb=self._on_disconnected,
                    reconnected_cb=self._on_reconnected,
                    max_reconnect_attempts=-1,
                    reconnect_time_wait=0.5,  # type: ignore[arg-type]  # seconds, and parts of one do
                    connect_timeout=CONNECT_SECONDS,
                    ping_interval=10,
                    **self._proof(),
                )
            await self.streams.account_info()
        except (TimeoutError, NatsError, OSError) as error:
            with suppress(NatsError, OSError):
                await self.client.close()
            raise self._unreachable(problems[0] if problems else _words(error)) from error
        self._up.set()
        _log.info("queue_connected", server=self._server())

    async def run(self) -> None:
        """Watch for losses until cancelled: tell of one that lasts too long, and of the return."""
        while True:
            await self._down.wait()
            try:
                async with asyncio.timeout(self._settings.outage_seconds):
                    await self._up.wait()
            except TimeoutError:
                seconds = self._settings.outage_seconds
                self._outage = self._unreachable(f"lost for more than {seconds:g} s")
                for on_outage in self._on_outage:
                    on_outage(self._outage)
                await self._up.wait()
            # Not in the client's callback: it takes no requests before its callbacks are through.
            self._down.clear()
            self._outage = None
            await self._restore()

    async def close(self) -> None:
        """Send what is buffered and close."""
        with suppress(NatsError, OSError, TimeoutError):
            async with asyncio.timeout(REQUEST_SECONDS):
                if self.is_up:
                    await self.client.flush()
                await self.client.close()

    async def add_stream(self, config: StreamConfig) -> None:
        """Have a stream, with these settings; kept, so that a server that lost it gets it again."""
        self._streams[str(config.name)] = config
        await self._patiently(lambda: self._make_stream(config))

    async def add_consumer(self, stream: str, config: ConsumerConfig) -> None:
        """Have a durable consumer, kept as a stream is."""
        self._consumers[stream, str(config.durable_name)] = config
        await self._patiently(lambda: self.streams.add_consumer(stream, config))

    async def publish(self, subject: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Put a message in its stream, again until the server has it.

        With a message id among the headers it is stored once. Raises UnreachableError
        QUEUE_UNREACHABLE when that took longer than an outage may.
        """
        await self._patiently(lambda: self.streams.publish(subject, body, headers=dict(headers)))

    async def _patiently(self, request: Callable[[], Awaitable[Any]]) -> None:
        give_up = self._clock.monotonic() + self._settings.outage_seconds
        while True:
            try:
                await request()
            except (NatsError, OSError, TimeoutError) as error:
                raise_if_cancelled()
                if self._clock.monotonic() >= give_up:
                    raise self._unreachable(_words(error)) from error
            else:
                raise_if_cancelled()
                return
            await self._clock.sleep(_RETRY_SECONDS)

    async def _make_stream(self, config: StreamConfig) -> None:
        try:
            await self.streams.add_stream(config)
        except BadRequestError as error:
            if error.err_code != _STREAM_NAME_IN_USE:
                raise FatalError(f"NATS refuses the stream {config.name}: {error}") from error
            # Made by a process with other settings; the latest word stands.
            await self.streams.update_stream(config)

    async def _on_disconnected(self) -> None:
        if self.client.is_closed:
            return
        self.generation += 1
        self._up.clear()
        self._down.set()
        _log.warning("queue_lost", server=self._server())

    async def _on_reconnected(self) -> None:
        self._up.set()
        _log.info("queue_back", server=self._server())

    async def _restore(self) -> None:
        try:
            for stream in self._streams.values():
                await self.add_stream(stream)
            for (name, _), consumer in self._consumers.items():
                await self.add_consumer(name, consumer)
        except (UnreachableError, FatalError) as error:
            # Lost once more while it came back; the next return makes them.
            _log.warning("queue_not_restored", problem=str(error))
            return
        for on_return in self._on_return:
            await on_return()

    def _unreachable(self, problem: str) -> UnreachableError:
        servers = ", ".join(self._settings.servers)
        return UnreachableError(f"NATS at {servers}: {problem}", reason="QUEUE_UNREACHABLE")

    def _server(self) -> str:
        url = self.client.connected_url
        return url.netloc if url is not None else ", ".join(self._settings.servers)

    def _proof(self) -> dict[str, Any]:
        settings = self._settings
        proof: dict[str, Any] = {}
        if settings.token_file is not None:
            proof["token"] = read_secret(settings.token_file).get_secret_value()
        if settings.user is not None and settings.password_file is not None:
            proof["user"] = settings.user
            proof["password"] = read_secret(settings.password_file).get_secret_value()
        if settings.tls is not None:
            proof["tls"] = _context(settings.tls)
            if settings.tls.server_name is not None:
                proof["tls_hostname"] = settings.tls.server_name
        return proof


@asynccontextmanager
async def open_link(settings: NatsSettings, clock: Clock) -> AsyncIterator[NatsLink]:
    """Yield a connection; raise UnreachableError QUEUE_UNREACHABLE when no server answers."""
    link = NatsLink(settings, clock)
    await link.connect()
    watch = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        await end_task(watch)
        await link.close()


def raise_if_cancelled() -> None:
    """Raise CancelledError when the present task was cancelled, whatever became of that.

    The client waits with `wait_for`, which loses a cancellation that meets an answer, and turns
    others into errors of its own; a loop around it would then never end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _context(tls: ClientTlsSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_file)
    if tls.certificate_file is not None:
        context.load_cert_chain(tls.certificate_file, tls.key_file)
    return context


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
