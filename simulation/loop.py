"""An event loop in virtual time: it waits for nothing, touches nothing outside, repeats exactly.

Time is the heap of timers: when nothing is ready, it jumps to the next one. Callbacks run in the
order in which they were made ready, as asyncio promises; what differs from seed to seed are the
latencies of what they wait for. Nothing runs beside it: work for a thread is done at once, and a
socket cannot be had.

Everything that runs belongs to a `Process`, known by the context it runs in. A process that dies is
as one killed by SIGKILL: none of its callbacks runs any more, no `finally` and no `except` either.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
_FIRST_SECOND: Final = 1_000.0
"""Not 0: code that takes 0 for "never" must not be right by accident."""

_FEW_TASKS: Final = 256
_CLOSINGS: Final = 5


class DeadlockError(Exception):
    """Nothing is ready and nothing is scheduled: what is awaited can never come."""


class OutsideError(Exception):
    """The code under simulation reached for a socket, a process or a signal."""


class TimeLimitError(Exception):
    """Virtual time has passed the end that was set for the run."""


# Not frozen: it lives and dies. Compared by identity, as processes are.
@dataclass(eq=False, slots=True)
class Process:
    """One life of one simulated process.

    `steps` counts the callbacks it has run; with `dies_at` it dies instead of running the callback
    of that number. `wall_offset` is how far its wall clock is off, in seconds. `mourners` are told
    of its death, outside of it. While it is paused, `held` are the callbacks that are due. `epoch`
    and `serves_entries` are an engine's.
    """

    name: str
    epoch: int = 0
    serves_entries: Callable[[], bool] | None = None
    steps: int = 0
    dies_at: int | None = None
    is_dead: bool = False
    wall_offset: float = 0.0
    mourners: list[Callable[[], None]] = field(default_factory=list)
    tasks: list[asyncio.Task[Any]] = field(default_factory=list)
    held: list[SimHandle] | None = None

    def die(self) -> None:
        """Die now; nothing of it runs afterwards."""
        if self.is_dead:
            return
        self.is_dead = True
        for mourner in list(self.mourners):
            mourner()

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Hold a task of this process: one that is collected would run its `finally` blocks."""
        self.tasks.append(task)
        if not self.is_dead and len(self.tasks) > _FEW_TASKS and len(self.tasks).bit_count() == 1:
            self.tasks = [one for one in self.tasks if not one.done()]

    def bury(self) -> None:
        """Close what is left of its coroutines, whose last words nobody hears."""
        context = context_of(self)
        # What they make in their `finally` is of this process too, and is buried with them.
        for task in self.tasks:
            if task.done():
                continue
            # asyncio would complain of a task that was dropped; this one was killed.
            task._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio's own switch
            coroutine = task.get_coro()
            for _ in range(_CLOSINGS):
                # One that awaits in its `finally` refuses to end: nobody is left to wait for.
                with contextlib.suppress(Exception, asyncio.CancelledError):
                    context.run(coroutine.close)
                    break
        self.tasks = []


PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)
"""Whose code is running."""


def context_of(process: Process | None) -> Context:
    """Return a context whose callbacks and tasks belong to a process, or to the world."""
    # Empty: nothing that one process has set is known to another.
    context = Context()
    context.run(PROCESS.set, process)
    return context


_numbers = itertools.count(1)


class SimTask(asyncio.Task[T]):
    """A task whose place in a set follows from when it was first hashed, not from its address."""

    _number = 0

    def __hash__(self) -> int:
        if not self._number:
            self._number = next(_numbers)
        return self._number


class SimFuture(asyncio.Future[T]):
    """A future whose place in a set follows from when it was first hashed."""

    _number = 0

    def __hash__(self) -> int:
        if not self._number:
            self._number = next(_numbers)
        return self._number


# Not frozen: it is cancelled. Without what asyncio's own does for debugging, a third of its time.
class SimHandle:
    """A callback that is ready or will be: what asyncio uses of its Handle and TimerHandle."""

    __slots__ = ("_args", "_callback", "_context", "_is_cancelled", "_when")

    def __init__(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: Context, when: float
    ) -> None:
        self._callback = callback
        self._args = args
        self._context = context
        self._when = when
        self._is_cancelled = False

    def cancel(self) -> None:
        """Let it not run."""
        self._is_cancelled = True
        # What it would have used may go.
        self._callback, self._args = _nothing, ()

    def cancelled(self) -> bool:
        """Whether it will not run."""
        return self._is_cancelled

    def when(self) -> float:
        """Return the virtual second at which it becomes ready."""
        return self._when


def _nothing() -> None:
    """Do what is left of a cancelled callback."""


class SimLoop(asyncio.BaseEventLoop):
    """The loop; `end` is the virtual second at which a run is given up (None: never)."""

    # Names of asyncio's own class, which its type stubs leave out.
    _ready: Any
    _scheduled: list[tuple[float, int, SimHandle]]
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self._now = _FIRST_SECOND
        self.end: float | None = None
        self._timer_count = 0
        self.callbacks = 0
        self.problems: list[str] = []
        self.set_exception_handler(self._note_problem)

    def time(self) -> float:
        """Return the virtual second."""
        return self._now

    def create_future(self) -> asyncio.Future[Any]:
        """Return a future of this loop."""
        return SimFuture(loop=self)

    # asyncio uses of a handle what this one has.
    def call_soon(  # type: ignore[override]  # the handle is this loop's own
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> SimHandle:
        """Run a callback after those that are ready already."""
        # An empty context is false, and a context of its own all the same.
        own = copy_context() if context is None else context
        handle = SimHandle(callback, args, own, self._now)
        self._ready.append(handle)
        return handle

    # There is no other thread.
    call_soon_threadsafe = call_soon  # type: ignore[assignment]  # as above

    def call_later(  # type: ignore[override]  # the handle is this loop's own
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> SimHandle:
        """Run a callback after so many virtual seconds."""
        own = copy_context() if context is None else context
        when = self._now + delay
        handle = SimHandle(callback, args, own, when)
        self._timer_count += 1
        heapq.heappush(self._scheduled, (when, self._timer_count, handle))
        return handle

    # Written out twice: a call more for each timer is felt.
    def call_at(  # type: ignore[override]  # the handle is this loop's own
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> SimHandle:
        """Run a callback at a virtual second, after those asked for first."""
        own = copy_context() if context is None else context
        handle = SimHandle(callback, args, own, when)
        self._timer_count += 1
        heapq.heappush(self._scheduled, (when, self._timer_count, handle))
        return handle

    def run_in_executor(
        self, executor: Any, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run the function at once; its future is done when it is returned."""
        del executor
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def create_task(
        self, coro: Any, *, name: Any = None, context: Context | None = None, **_more: Any
    ) -> asyncio.Task[Any]:
        """Return a task that belongs to the process of its context."""
        if context is None:
            process = PROCESS.get()
        else:
            # One that says nothing of a process forgets what was set, not where it runs.
            if PROCESS not in context:
                context.run(PROCESS.set, PROCESS.get())
            process = context[PROCESS]
        task: asyncio.Task[Any] = SimTask(coro, loop=self, name=name, context=context)
        if process is not None:
            process.keep(task)
        return task

    def _run_once(self) -> None:
        """Run what is ready, after a jump to the next timer where nothing is, until stopped."""
        ready, scheduled = self._ready, self._scheduled
        next_handle, next_timer = ready.popleft, heapq.heappop
        # asyncio asks to be called for each turn: most have one callback, and cost as much.
        while not self._stopping:
            while scheduled and scheduled[0][2]._is_cancelled:
                next_timer(scheduled)
            if not ready:
                self._jump()
            now, run = self._now, self._run_handle
            while scheduled and scheduled[0][0] <= now:
                ready.append(next_timer(scheduled)[2])
            for _ in range(len(ready)):
                handle = next_handle()
                if not handle._is_cancelled:
                    run(handle)

    def _jump(self) -> None:
        scheduled = self._scheduled
        if not scheduled:
            raise DeadlockError(f"nothing is left to wait for at {self._now:.6f} s")
        self._now = max(self._now, scheduled[0][0])
        if self.end is not None and self._now > self.end:
            raise TimeLimitError(f"not done at {self._now:.6f} s")

    def _run_handle(self, handle: SimHandle) -> None:
        process = handle._context.get(PROCESS)
        if process is not None:
            if process.is_dead:
                return
            if process.held is not None:
                process.held.append(handle)
                return
            process.steps += 1
            if process.steps == process.dies_at:
                process.die()
                return
        self.callbacks += 1
        try:
            handle._context.run(handle._callback, *handle._args)
        except (SystemExit, KeyboardInterrupt):
            raise
        # All others, as asyncio does: a cancellation that escapes is a problem too.
        except BaseException as error:
            told = {"message": f"a callback broke: {handle._callback!r}", "exception": error}
            handle._context.run(self.call_exception_handler, told)

    def pause(self, process: Process) -> None:
        """Freeze a process as SIGSTOP does: what is due waits, time goes on."""
        if process.held is None:
            process.held = []

    def resume(self, process: Process) -> None:
        """Let a paused process go on with all that came due."""
        held, process.held = process.held, None
        self._ready.extend(held or ())

    def _check_closed(self) -> None:
        """Let what is buried speak to a closed loop: it is heard by nobody."""

    # Asked of the loop by each task and future that is made: bool() is False, and quick.
    get_debug = staticmethod(bool)

    def _write_to_self(self) -> None:
        """Wake nobody: the loop never sleeps."""

    def _process_events(self, event_list: Any) -> None:
        """Take no events: there is no selector."""

    def _note_problem(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        process = PROCESS.get()
        if process is not None and process.is_dead:
            return
        self.problems.append(f"{context.get('message')}: {context.get('exception')!r}")

    def getaddrinfo(self, *args: Any, **named: Any) -> NoReturn:
        """Refuse: no name is looked up."""
        raise OutsideError("a name was to be looked up")

    def create_connection(self, *args: Any, **named: Any) -> NoReturn:
        """Refuse: no socket is opened."""
        raise OutsideError("a socket was to be opened")

    def create_server(self, *args: Any, **named: Any) -> NoReturn:
        """Refuse: no socket listens."""
        raise OutsideError("a socket was to listen")

    def create_datagram_endpoint(self, *args: Any, **named: Any) -> NoReturn:
        """Refuse: no socket is opened."""
        raise OutsideError("a socket was to be opened")

    def sock_connect(self, *args: Any, **named: Any) -> NoReturn:
        """Refuse: a socket had without the loop is not used with it."""
        raise OutsideError("a socket was to be used")

    sock_accept = sock_recv = sock_recv_into = sock_recvfrom = sock_connect
    sock_recvfrom_into = sock_sendall = sock_sendto = sock_connect
    create_unix_connection = create_unix_server = sock_connect

    def add_reader(self, fd: Any, callback: Callable[[*Ts], object], *args: *Ts) -> NoReturn:
        """Refuse: nothing outside is waited for."""
        raise OutsideError("a socket was to be waited for")

    add_writer = add_reader

    def add_signal_handler(
        self, sig: int, callback: Callable[[*Ts], object], *args: *Ts
    ) -> NoReturn:
        """Refuse: signals are the interpreter's, not a simulated process's."""
        raise OutsideError("a signal was to be handled")


def run_simulated(main: Coroutine[Any, Any, T], *, seconds: float | None = None) -> T:
    """Run a coroutine to its end on a loop of its own and return its result.

    Raises DeadlockError when it waits for what cannot come, TimeLimitError after so many virtual
    seconds, and what it raises itself.
    """
    loop = SimLoop()
    if seconds is not None:
        loop.end = loop.time() + seconds
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main)
    finally:
        asyncio.set_event_loop(None)
        loop.close()
