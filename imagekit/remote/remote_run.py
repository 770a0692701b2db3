"""``RemoteRun``: a run on a cluster, in the hands of a client."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from imagekit.failures import decode_failure
from imagekit.records import dataclass
from imagekit.remote.outcome import end_time, outcome
from imagekit.run_records import RunRecord, RunRecords
from imagekit.task_errors import RuntimeSystemError

if TYPE_CHECKING:
    from imagekit.cluster.api import Cluster
    from imagekit.cluster.documents import Json, ResultDocument
    from imagekit.remote.follower import Follower
    from imagekit.remote.known_run import KnownRun
    from imagekit.run_tree import State
    from imagekit.run_view import RunView

_R = TypeVar("_R")
#: Seconds for what follows runs to end when this process does.
_AT_EXIT = 2.0


@dataclass(frozen=True, slots=True)
class Waiting(Generic[_R]):
    """``call()`` blocks; ``await call.aio()`` does not."""

    _work: Callable[[], _R]

    def __call__(self) -> _R:
        """Do it, and wait for it."""
        return self._work()

    async def aio(self) -> _R:
        """Do it, without blocking the event loop."""
        from imagekit.running.background import in_background  # noqa: PLC0415

        return await in_background(self._work, name="imagekit wait")


class RemoteRun:
    """A run on a cluster, which goes on whatever becomes of this process.

    Attributes:
        name: names it among all runs of its namespace.
        url: the folder where it is recorded, as far as it was followed.
        mode: ``remote``.
        task: full name of its task.
        version: version of the code.
    """

    mode: Literal["remote"] = "remote"

    def __init__(
        self,
        cluster: Cluster,
        run: KnownRun,
        *,
        record: Callable[[], RunRecord],
        follower: Callable[[RunRecord], Follower],
        decoded: Callable[[Json, Path], Any],
        noted: Callable[[BaseException], object],
        place: Path,
    ) -> None:
        """Take a run that is on the cluster.

        Args:
            cluster: where it is.
            run: the run.
            record: begins its record.
            follower: makes what follows it into a record.
            decoded: makes its output of the document; files go into a folder.
            noted: adds to what the task raised what a person can do.
            place: the folder of records.
        """
        self.name = run.document.name
        self.task = run.document.task
        self.version = run.document.version
        self._cluster = cluster
        self._run = run
        self._record = record
        self._make = follower
        self._decoded = decoded
        self._noted = noted
        self._place = place
        self._lock = threading.Lock()
        self._following: _Following | None = None

    @property
    def url(self) -> str:
        """The folder where it is recorded."""
        following = self._following
        return str(following.record.folder if following else self._place / self.name)

    @property
    def status(self) -> State:
        """How it is now: ``running``, or how it ended.

        Raises:
            ImageKitError: it could not be followed any more, which is said once: who
                asks again has it followed anew.
        """
        with self._lock:
            following = self._following
            if following is not None and following.error is not None:
                self._following = None
                raise following.error
        return self.follow().status

    @property
    def phase(self) -> State:
        """How it is now: *status*, as Flyte calls it; it raises the same."""
        return self.status

    def done(self) -> bool:
        """Return whether it is over.

        Raises:
            ImageKitError: as for *status*.
        """
        return self.status != "running"

    def details(self) -> RunView:
        """Return what is recorded of it until now."""
        folder = self.follow().record.folder
        return RunRecords(folder.parent).open(folder.name)

    @property
    def wait(self) -> Waiting[None]:
        """``wait()`` returns when it is over; what it printed was shown.

        Raises:
            ImageKitError: it can't be followed any more; it goes on.
        """
        return Waiting(self._wait)

    @property
    def outputs(self) -> Waiting[Any]:
        """``outputs()`` waits, and returns what the task returned.

        Raises:
            Exception: what the task raised.
            RunAbortedError: it was cancelled.
            ImageKitError: it can't be followed any more; it goes on.
        """
        return Waiting(self._outputs)

    @property
    def cancel(self) -> Waiting[None]:
        """``cancel()`` ends it, and returns when no pod of it is left.

        Raises:
            ClusterError: the cluster refuses, or can't be reached.
        """
        return Waiting(self._cancel)

    def follow(self) -> _Following:
        """Follow it, if nobody does any more, and return what is known by now."""
        with self._lock:
            if self._following is None or self._following.error is not None:
                record = self._record()
                self._following = _Following(self._make(record), record)
            return self._following

    def stop(self) -> None:
        """Follow it no longer: it goes on."""
        with self._lock:
            following, self._following = self._following, None
        if following is not None:
            following.stop()

    def result(self) -> ResultDocument:
        """Wait until it is over, and return its result."""
        return self.follow().result()

    def _wait(self) -> None:
        self.result()

    def _outputs(self) -> Any:
        result = self.result()
        if result.error is None:
            return self._decoded(result.output, self.follow().record.folder)
        error = decode_failure(result.error)
        self._noted(error)
        raise error

    def _cancel(self) -> None:
        from imagekit.remote.cancelling import cancel_run  # noqa: PLC0415

        cancel_run(self._cluster, self._run)
        if self._following is not None:
            self.result()


class _Following:
    """A run that is followed in a thread."""

    def __init__(self, follower: Follower, record: RunRecord) -> None:
        self.record = record
        self.status: State = "running"
        self._follower = follower
        self._result: ResultDocument | None = None
        #: Why it ended before the run did.
        self.error: BaseException | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(
            target=self._work, name="imagekit follow", daemon=True
        )
        atexit.register(self.stop)
        self._thread.start()

    def result(self) -> ResultDocument:
        """Wait for the result."""
        self._over.wait()
        if self.error is not None:
            raise self.error
        if self._result is None:
            raise RuntimeSystemError(f"the run {self.record.name!r} was left alone")
        return self._result

    def stop(self) -> None:
        """End: the run goes on."""
        self._follower.stop()
        self._over.wait(_AT_EXIT)

    def _work(self) -> None:
        try:
            self.error = self._followed()
        except BaseException as error:  # noqa: BLE001  (who waits gets it)
            self.error = error
        finally:
            self._over.set()
            atexit.unregister(self.stop)

    def _followed(self) -> BaseException | None:
        """Follow the run, and return why that ended before the run did."""
        # Left without an end, the record says that nobody knows how it goes on.
        with self.record:
            try:
                result = self._follower.follow()
                if result is not None:
                    self._end(result)
            except BaseException as error:  # noqa: BLE001  (who waits gets it)
                return error
        return None

    def _end(self, result: ResultDocument) -> None:
        status = outcome(result)
        self.record.finish(status, at=end_time(result))
        self._result, self.status = result, status
