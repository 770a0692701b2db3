"""The container's first process, which outlives whatever the user's code does.

It forks the worker before any of the user's code is loaded, hands signals on to it,
takes in orphans, and says how the worker ended: the kernel's log is nothing that a
container could read. When the other side has gone, it ends the worker, even one that
hangs where no Python code runs.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from imagekit.frames import PREAMBLE, packed
from imagekit.runtime.memory import memory
from imagekit.runtime.messages import Died, frame_of

#: Seconds that the worker gets for its end when nobody listens any more.
_GRACE = 3.0
_FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_SIGNALLED = 128


def main() -> NoReturn:
    """Fork the worker, and watch over it."""
    incoming, outgoing = _take_over()
    os.write(outgoing, PREAMBLE)
    wakes, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    worker = os.fork()
    if worker == 0:
        os.close(wakes)
        os.close(wake)
        _work(incoming, outgoing)
    _listen(wake)
    status = _watch(worker, incoming, wakes)
    _tell(status, outgoing)
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else _SIGNALLED - code)


def _work(incoming: int, outgoing: int) -> NoReturn:
    from imagekit.runtime import worker  # noqa: PLC0415  (nothing for the supervisor)

    # Not sys.exit: the interpreter below this frame is the supervisor's.
    worker.main(incoming, outgoing)


def _take_over() -> tuple[int, int]:
    """Keep the streams for frames, and have what is printed go to standard error."""
    incoming, outgoing = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return incoming, outgoing


def _listen(wake: int) -> None:
    """Have signals write their numbers to *wake*."""
    for number in (*_FORWARDED, signal.SIGCHLD):
        signal.signal(number, _ignore)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Do nothing: the number is in the pipe."""


def _watch(worker: int, incoming: int, wakes: int) -> int:
    """Return the worker's status once it has ended."""
    poll = select.poll()
    poll.register(wakes, select.POLLIN)
    poll.register(incoming, 0)  # tells of hang-ups only: the worker reads
    deadline: float | None = None
    while True:
        status = _reaped(worker)
        if status is not None:
            return status
        wait = None
        if deadline is not None:
            wait = max(0.0, deadline - time.monotonic()) * 1000
        for file, _ in poll.poll(wait):
            if file == incoming:
                poll.unregister(incoming)
                deadline = time.monotonic() + _GRACE
            else:
                _forward(os.read(wakes, 1 << 10), worker)
        if deadline is not None and time.monotonic() >= deadline:
            os.kill(worker, signal.SIGKILL)
            deadline = None


def _forward(numbers: bytes, worker: int) -> None:
    for number in numbers:
        if number in _FORWARDED:
            os.kill(worker, number)


def _reaped(worker: int) -> int | None:
    """Take in whoever has ended; return the worker's status if it has."""
    found = None
    while True:
        try:
            child, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if child == 0:
            return found
        if child == worker:
            found = status


def _tell(status: int, outgoing: int) -> None:
    """Say how the worker ended, behind whatever it was saying."""
    code, now = os.waitstatus_to_exitcode(status), memory()
    died = Died(
        code=code if code >= 0 else None,
        signal=-code if code < 0 else None,
        out_of_memory=now.killed,
        limit=now.limit,
        peak=now.peak,
    )
    # Nobody may be reading: that must not keep this container alive. A frame that is
    # so short is written whole or not at all.
    os.set_blocking(outgoing, False)
    poll = select.poll()
    poll.register(outgoing, select.POLLOUT)
    poll.poll(_GRACE * 1000)
    with suppress(BlockingIOError, BrokenPipeError):  # then nobody wants to know
        os.write(outgoing, packed(frame_of(died)))
