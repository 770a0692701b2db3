"""Runs attempts in pods of their own: a Job for each."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from imagekit.cluster.api_errors import QuotaError
from imagekit.failures import decode_failure
from imagekit.run_events import Json
from imagekit.running.attempt import Attempt, Placed
from imagekit.running.cluster.call_objects import CallObjects
from imagekit.running.cluster.callees import (
    Blind,
    Callees,
    PodGone,
    PodSeen,
    ResultSeen,
)
from imagekit.running.cluster.followed_job import FollowedJob
from imagekit.running.cluster.pod_endings import (
    Trouble,
    ending_of,
    is_over,
    phase_of,
)
from imagekit.running.cluster.pod_events import quota_trouble
from imagekit.running.cluster.siblings import Siblings
from imagekit.running.container.slots import Slots
from imagekit.task_errors import RuntimeSystemError

_T = TypeVar("_T")

#: Seconds that a pod gets for its end once its result is there.
_LAST_WORDS = 60.0
#: Requests at a time.
_REQUESTS = 8
#: Seconds until it is seen whether a quota leaves room.
_AGAIN = 3.0
#: What Jobs that have ended count for.
_COUNTED = {"count/jobs.batch", "count/pods"}


class JobExecutor:
    """Runs each attempt in a Job's pod.

    Args:
        objects: makes and reads what the calls of this run are on the cluster.
        callees: tells what becomes of them.
        siblings: the calls of the same caller.
        most: how many Jobs there may be at a time.
    """

    def __init__(
        self, objects: CallObjects, callees: Callees, siblings: Siblings, *, most: int
    ) -> None:
        self._objects = objects
        self._callees = callees
        self._siblings = siblings
        self._slots = Slots(most)
        self._requests = ThreadPoolExecutor(
            _REQUESTS, thread_name_prefix="imagekit request"
        )
        self._lock = threading.Lock()
        self._delays: dict[str, str] = {}
        self._ending: set[asyncio.Task[None]] = set()
        #: Jobs that have ended and are there still, the oldest first.
        self._finished: deque[str] = deque()

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
                noting = self._siblings.noting(name, placed)
                follow = FollowedJob(name, attempt, noting)
                self._callees.expect(name, follow.tell)
                try:
                    await self._answered(follow, answer)
                finally:
                    self._callees.forget(name)
                    self._siblings.end(name)
                    with self._lock:
                        self._delays.pop(attempt.context.action.name, None)
        except asyncio.CancelledError:
            answer.cancel()
            raise
        except BaseException as error:  # noqa: BLE001  (who waits gets it)
            if not answer.done():
                answer.set_exception(error)

    async def _answered(
        self, follow: FollowedJob, answer: asyncio.Future[Json]
    ) -> None:
        name = follow.name
        try:
            await self._create(follow)
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
        elif follow.pod is not None and is_over(follow.pod):
            self._finished.append(name)

    async def _create(self, follow: FollowedJob) -> None:
        """Make the objects of a call, once a quota leaves room for them.

        Raises:
            ImageKitError: there is none for too long, or something else is wrong.
        """
        name, attempt = follow.name, follow.attempt
        create, again = self._objects.create, False
        while True:
            creation = asyncio.ensure_future(
                self._request(partial(create, name, attempt, again=again))
            )
            try:
                await asyncio.shield(creation)
            except QuotaError as error:
                follow.hear(quota_trouble(error))
                if not await self._made_room(error):
                    self._endure(follow)
            else:
                follow.hear(None)
                return
            finally:
                # What comes into being after it was deleted would be left.
                await _over(creation)
            again = True
            await asyncio.sleep(_AGAIN)

    async def _made_room(self, error: QuotaError) -> bool:
        """Delete a Job that has ended, if that may help; return whether there was one.

        Its log is lost to those who have not read it. The call would be, otherwise.
        """
        if not (self._finished and _COUNTED & error.requested.keys()):
            return False
        await self._deleted(self._finished.popleft())
        return True

    async def _result(self, follow: FollowedJob) -> Any:
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
            if follow.is_lost():
                return await self._last(follow)
            await self._check_delay(follow)

    async def _last(self, follow: FollowedJob) -> Any:
        """Return the result of a pod that has ended, if there is one."""
        name = follow.name
        result = await self._request(lambda: self._objects.result(name))
        if result is not None:
            follow.begin(result.pod)
            return result
        pod = follow.pod
        tail = await self._request(lambda: self._objects.tail(pod))
        raise ending_of(pod, tail)

    async def _check_delay(self, follow: FollowedJob) -> None:
        """Note why there is no running pod; raise if there will be none."""
        if follow.running:
            return
        if follow.is_silent():
            name, pod = follow.name, follow.pod
            told = await self._request(lambda: self._told(name, pod))
            follow.hear(told)
            if told is not None and isinstance(told.error, QuotaError):
                await self._made_room(told.error)
        self._endure(follow)

    def _endure(self, follow: FollowedJob) -> None:
        """Note what keeps a call from running; raise it after too long."""
        trouble, attempt = follow.trouble(), follow.attempt
        if trouble is None:
            return
        with self._lock:
            self._delays[attempt.context.action.name] = trouble.error.message
        patience = self._siblings.patience(follow.name, attempt.settings, trouble)
        if patience is None:
            follow.excuse()
        elif follow.waited > patience:
            raise trouble.error

    def _told(self, name: str, pod: Json) -> Trouble | None:
        """Return why there is no pod, or why it does not start, if somebody says so."""
        if pod is None:
            return self._objects.no_pod(name)
        return self._objects.start_trouble(pod)

    async def _deleted(self, name: str) -> None:
        """Delete a Job, whatever comes in between."""
        deletion = asyncio.ensure_future(
            self._request(lambda: self._objects.delete(name))
        )
        await _over(deletion)  # if it fails, the owner of the Job takes it along

    async def _request(self, request: Callable[[], _T]) -> _T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._requests, request)


async def _over(request: asyncio.Future[Any]) -> None:
    """Wait until *request* is done: it is on its way, and has to get there."""
    while not request.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({request})
    if not request.cancelled():
        request.exception()  # it is known that it may fail
