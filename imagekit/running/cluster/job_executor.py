"""Runs attempts in pods of their own: a Job for each."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from imagekit.failures import decode_failure
from imagekit.run_events import Json
from imagekit.running.attempt import Attempt, Placed
from imagekit.running.cluster.call_objects import CallObjects
from imagekit.running.cluster.callees import (
    Blind,
    Callees,
    News,
    PodGone,
    PodSeen,
    ResultSeen,
)
from imagekit.running.cluster.pod_endings import (
    ending_of,
    is_over,
    phase_of,
    trouble_of,
)
from imagekit.running.container.slots import Slots
from imagekit.task_errors import BaseRuntimeError, RuntimeSystemError

_T = TypeVar("_T")

#: Seconds that a pod may wait for a node, where the task has no bound of its own.
PENDING = 300.0
#: Seconds without any pod after which somebody has to say why there is none.
_NO_POD = 5.0
#: Seconds that a pod gets for its end once its result is there.
_LAST_WORDS = 60.0
#: Requests at a time.
_REQUESTS = 8


class JobExecutor:
    """Runs each attempt in a Job's pod.

    Args:
        objects: makes and reads what the calls of this run are on the cluster.
        callees: tells what becomes of them.
        most: how many Jobs there may be at a time.
    """

    def __init__(self, objects: CallObjects, callees: Callees, *, most: int) -> None:
        self._objects = objects
        self._callees = callees
        self._slots = Slots(most)
        self._requests = ThreadPoolExecutor(
            _REQUESTS, thread_name_prefix="imagekit request"
        )
        self._lock = threading.Lock()
        self._delays: dict[str, str] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def check(self, attempt: Attempt) -> None:
        """Do nothing: what is wrong, the cluster will say."""

    async def execute(self, attempt: Attempt, placed: Placed) -> Json:
        """Run the task, and return its encoded output."""
        answer: asyncio.Future[Json] = asyncio.get_running_loop().create_future()
        job = asyncio.create_task(self._job(attempt, placed, answer))
        self._ending.add(job)
        job.add_done_callback(self._ending.discard)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            job.cancel()
            await asyncio.wait({job})
            raise

    async def settled(self) -> None:
        """Wait until the pods of all answered calls have ended."""
        if self._ending:
            await asyncio.wait(self._ending)

    def delay(self, attempt: Attempt) -> str | None:
        """Return why an attempt does not run yet, where that is known."""
        with self._lock:
            return self._delays.get(attempt.context.action.name)

    def close(self) -> None:
        """End the watches."""
        self._callees.close()
        self._requests.shutdown(wait=False)

    async def _job(
        self, attempt: Attempt, placed: Placed, answer: asyncio.Future[Json]
    ) -> None:
        """Answer with the result of a Job, and have its place until its pod ended."""
        name = self._objects.name_of(attempt)
        try:
            async with self._slots.taken():
                follow = _Following(name, attempt, placed)
                self._callees.expect(name, follow.tell)
                try:
                    await self._answered(follow, answer)
                finally:
                    self._callees.forget(name)
                    with self._lock:
                        self._delays.pop(attempt.context.action.name, None)
        except asyncio.CancelledError:
            answer.cancel()
            raise
        except BaseException as error:  # noqa: BLE001  (who waits gets it)
            if not answer.done():
                answer.set_exception(error)

    async def _answered(self, follow: _Following, answer: asyncio.Future[Json]) -> None:
        name, attempt = follow.name, follow.attempt
        try:
            await self._request(lambda: self._objects.create(name, attempt))
            result = await self._result(follow)
        except BaseException:
            # The Job may make another pod, for a task that has been given up.
            await self._deleted(name)
            raise
        if result.error is None:
            answer.set_result(result.output)
        else:
            answer.set_exception(decode_failure(result.error, kept=True))
        await follow.until_over(_LAST_WORDS)
        if follow.pod is not None and phase_of(follow.pod) == "Running":
            # Other containers of the pod go on, and would for ever.
            await self._deleted(name)

    async def _result(self, follow: _Following) -> Any:
        """Return the result document, once it is there.

        Raises:
            BaseRuntimeError: it can't come any more.
        """
        while True:
            news = await follow.next()
            match news:
                case ResultSeen(result=found):
                    result = await self._request(lambda: self._objects.read(found))
                    follow.begin(result.pod)
                    return result
                case PodSeen(pod=pod) if follow.is_replaced(pod):
                    return await self._last(follow)
                case PodSeen(pod=pod):
                    follow.see(pod)
                    if is_over(pod):
                        return await self._last(follow)
                case PodGone(pod=pod):
                    follow.lose(pod)
                    return await self._last(follow)
                case Blind(error=error):
                    raise RuntimeSystemError(
                        f"the cluster can't be watched any more: {error}"
                    ) from error
                case None:
                    pass
            await self._check_delay(follow)

    async def _last(self, follow: _Following) -> Any:
        """Return the result of a pod that has ended, if there is one."""
        name = follow.name
        result = await self._request(lambda: self._objects.result(name))
        if result is not None:
            follow.begin(result.pod)
            return result
        pod = follow.pod
        tail = await self._request(lambda: self._objects.tail(pod))
        raise ending_of(pod, tail)

    async def _check_delay(self, follow: _Following) -> None:
        """Note why there is no running pod; raise if there will be none."""
        if follow.running:
            return
        error, patience = follow.trouble()
        if error is None and follow.pod is None and follow.waited > _NO_POD:
            name = follow.name
            why = await self._request(lambda: self._objects.refusal(name))
            error = _no_pod(name, why) if why else None
        if error is None:
            return
        with self._lock:
            self._delays[follow.attempt.context.action.name] = error.message
        if follow.waited > (PENDING if patience is None else patience):
            raise error

    async def _deleted(self, name: str) -> None:
        """Delete a Job, whatever comes in between."""
        deletion = asyncio.ensure_future(
            self._request(lambda: self._objects.delete(name))
        )
        while not deletion.done():
            try:
                await asyncio.wait({deletion})
            except asyncio.CancelledError:
                continue  # it is on its way, and has to get there
        deletion.exception()  # the owner of the Job will take it along

    async def _request(self, request: Callable[[], _T]) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._requests, request)


def _no_pod(job: str, why: str) -> RuntimeSystemError:
    return RuntimeSystemError(
        f"the Job {job!r} gets no pod: {why}",
        hint="the namespace has a quota or a policy that is against it: ask for less "
        "with Resources(...), or have it raised",
    )


class _Following:
    """What is known of one Job."""

    def __init__(self, name: str, attempt: Attempt, placed: Placed) -> None:
        self.name = name
        self.attempt = attempt
        self.pod: Json = None
        self.running = False
        self._placed = placed
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[News] = asyncio.Queue()
        self._began = time.monotonic()
        self._since: tuple[str, float] = ("", 0.0)

    def tell(self, news: News) -> None:
        """Take news, in any thread."""
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, news)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    async def next(self) -> News | None:
        """Return the next news; None if there is none for a while."""
        try:
            return await asyncio.wait_for(
                self._queue.get(), None if self.running else 1.0
            )
        except TimeoutError:
            return None

    @property
    def waited(self) -> float:
        """Seconds since the trouble that is on began, or since the Job was wanted."""
        return time.monotonic() - (self._since[1] or self._began)

    def trouble(self) -> tuple[BaseRuntimeError | None, float | None]:
        """Return what keeps the pod from running, and for how long it may."""
        found = None if self.pod is None else trouble_of(self.pod)
        kind = "" if found is None else type(found.error).__name__
        if kind != self._since[0]:
            self._since = (kind, time.monotonic() if kind else 0.0)
        return (None, None) if found is None else (found.error, found.patience)

    def is_replaced(self, pod: Json) -> bool:
        """Return whether the Job has made another pod, in place of one that ran."""
        if self.pod is None:
            return False
        return bool(pod["metadata"]["uid"] != self.pod["metadata"]["uid"])

    def see(self, pod: Json) -> None:
        """Take note of how the pod is."""
        self.pod = pod
        if phase_of(pod) != "Pending":
            self.begin(pod["metadata"]["name"])

    def begin(self, pod: str) -> None:
        """Take note that the task runs, or ran: its result may be seen before."""
        if not self.running:
            self.running = True
            self._placed(self.attempt.task.environment.image, pod)

    def lose(self, pod: Json) -> None:
        """Take note that the pod is gone; little may be known of it but its name."""
        known = self.pod or pod
        metadata = {**known["metadata"], "deletionTimestamp": "now"}
        self.pod = {**known, "metadata": metadata}

    async def until_over(self, seconds: float) -> None:
        """Wait until the pod has ended."""
        end = time.monotonic() + seconds
        while not (self.pod is not None and is_over(self.pod)):
            left = end - time.monotonic()
            if left <= 0:
                return
            try:
                news = await asyncio.wait_for(self._queue.get(), left)
            except TimeoutError:
                return
            match news:
                case PodSeen(pod=pod):
                    self.see(pod)
                case PodGone() | Blind():
                    return
                case ResultSeen():
                    pass
