"""What runs in a task's pod, beside the task: it has one call run, and tells of it.

It has none of the user's code. The call is read from its object, the worker runs it,
what the task calls is made into Jobs, and the result is written to an object of its
own, with what happened.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import tempfile
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from typing import Any, NoReturn

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.api_errors import AlreadyExistsError
from imagekit.cluster.documents import (
    CallDocument,
    ResultDocument,
    RunDocument,
)
from imagekit.cluster.in_pod import PodApi
from imagekit.cluster.jobs import data_location
from imagekit.digest import Digest
from imagekit.failures import encode_failure
from imagekit.records import replace
from imagekit.run_events import Json
from imagekit.running.attempt import Attempt, EncodedCall, Executor, Placed
from imagekit.running.cluster.call_objects import CallObjects
from imagekit.running.cluster.callees import Callees
from imagekit.running.cluster.cluster_results import ClusterResults
from imagekit.running.cluster.deployed import Deployed
from imagekit.running.cluster.earlier_results import EarlierResults, Recovering
from imagekit.running.cluster.job_executor import JobExecutor
from imagekit.running.cluster.journal import Journal, Printing
from imagekit.running.cluster.parcel_objects import parcel_object, parcel_of
from imagekit.running.cluster.pod_executor import PodExecutor
from imagekit.running.cluster.pod_secrets import values_here
from imagekit.running.cluster.raw_data import raw_data
from imagekit.running.cluster.root_history import RootHistory
from imagekit.running.controller import Controller, RunFacts, task_context
from imagekit.task_errors import InlineIOMaxBytesBreached
from imagekit.value_blobs import ValueBlobs
from imagekit.values import blob_digests

#: Names the call object that this pod is for.
CALL_VARIABLE = "IMAGEKIT_CALL"
POD_VARIABLE = "IMAGEKIT_POD_NAME"
#: Seconds for which an API server may be away until a result is lost.
_RESULT_PATIENCE = 900.0
#: Exit code of a pod that was told to end before there was a result.
_INTERRUPTED = 143


def main() -> NoReturn:
    """Have the call run that this pod is for."""
    api = PodApi()
    with tempfile.TemporaryDirectory(prefix="imagekit-") as folder:
        blobs = ValueBlobs(os.path.join(folder, "blobs"))
        lasting = Cluster(PodApi(patience=_RESULT_PATIENCE))
        code = asyncio.run(
            _run(Cluster(api), lasting, os.environ[CALL_VARIABLE], blobs)
        )
    sys.stdout.flush()
    # What imagekit's threads wait for does not matter any more.
    os._exit(code)


async def _run(cluster: Cluster, lasting: Cluster, name: str, blobs: ValueBlobs) -> int:
    """Run a call, unless that was done; return this process's exit code."""
    running = asyncio.current_task()
    assert running is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    try:
        if await asyncio.to_thread(cluster.find, "ConfigMap", names.result_name(name)):
            return 0  # an earlier pod was lost after it had written it
        call = await asyncio.to_thread(_CallHere, cluster, lasting, name, blobs)
        await call.run()
    except asyncio.CancelledError:
        return _INTERRUPTED
    return 0


class _CallHere:
    """A call that runs in this pod.

    Args:
        cluster: where it is.
        lasting: likewise, with the patience that a result is worth.
        name: of the call object.
        blobs: the large parts of inputs and outputs.
    """

    def __init__(
        self, cluster: Cluster, lasting: Cluster, name: str, blobs: ValueBlobs
    ) -> None:
        self._cluster = cluster
        self._lasting = lasting
        self._name = name
        self._blobs = blobs
        self._pod = os.environ.get(POD_VARIABLE, "")
        self._object = found = cluster.get("ConfigMap", name)
        self._run_object = cluster.get(
            "ConfigMap", names.run_name_of(found["metadata"]["labels"])
        )
        self._facts = run = RunDocument.from_json(
            parcel_of(self._run_object, blobs, None)
        )
        self._store = raw_data(run.raw_data_path)
        self._call = CallDocument.from_json(parcel_of(found, blobs, self._store))
        self._deployed = Deployed(cluster, run)
        self._task = self._deployed.find(self._call.task)
        self._history = RootHistory(
            cluster, found, pod=self._pod, blobs=blobs, store=self._store
        )
        self._journal = Journal(
            self._write_journal,
            first=self._history.journals,
            dropped=self._history.is_known,
            print_to=Printing(),
        )

    async def run(self) -> None:
        """Run the call, and write its result."""
        self._journal.hide(values_here(self._call.settings.secrets))
        here = PodExecutor(
            image=self._task.image,
            module=self._module,
            pod=self._pod,
            blobs=self._blobs,
        )
        jobs = self._jobs()
        error: BaseException | None = None
        output: Json = None
        try:
            output = await self._output(here, jobs)
        except asyncio.CancelledError:
            raise
        except BaseException as raised:  # noqa: BLE001  (it is handed on)
            error = raised
        await _whatever_comes(asyncio.to_thread(self._write_result, output, error))
        await jobs.settled()
        jobs.close()

    async def _output(self, here: PodExecutor, jobs: JobExecutor) -> Json:
        call = self._call
        if call.attempt:
            controller = self._controller(jobs)
            attempt = Attempt(
                task=self._task,
                settings=call.settings,
                inputs=call.inputs,
                context=replace(
                    task_context(self._run_facts(), call.action, call.task),
                    attempt=call.attempt,
                ),
                caller=controller,
                encoded=controller,
                recorder=self._journal,
            )
            return await here.execute(attempt, _unplaced)
        await asyncio.to_thread(self._history.resume, self._journal)
        earlier = EarlierResults(
            self._cluster,
            self._objects(),
            caller=self._name,
            lost=self._history.lost,
            blobs=self._blobs,
            store=self._store,
        )
        controller = self._controller(
            _Split(call.action, here, Recovering(earlier, jobs))
        )
        return await controller.call_encoded(
            EncodedCall(
                task=call.task,
                settings=call.settings,
                inputs=call.inputs,
                action=call.action,
                parent=None,
            )
        )

    def _controller(self, executor: Executor) -> Controller:
        journal = self._journal
        return Controller(
            self._run_facts(),
            executor=executor,
            recorder=journal,
            blobs=self._blobs,
            results=ClusterResults(
                self._cluster,
                blobs=self._blobs,
                store=self._store,
                note=logging.getLogger("imagekit").info,
            ),
            prepare=None,
            find=self._deployed.find,
            image_of=lambda task: self._identity(task.name),
            holds_secret=journal.holds_secret,
            hide=lambda secrets: journal.hide(values_here(secrets)),
            history=self._history,
        )

    def _jobs(self) -> JobExecutor:
        callees = Callees(self._cluster.api, self._name)
        return JobExecutor(self._objects(), callees, most=self._facts.most)

    def _objects(self) -> CallObjects:
        return CallObjects(
            self._cluster,
            self._facts,
            caller=self._name,
            owner=self._run_object,
            deployed=self._deployed,
            blobs=self._blobs,
            store=self._store,
        )

    def _run_facts(self) -> RunFacts:
        run = self._facts
        return RunFacts(
            name=run.name,
            mode="remote",
            version=run.version,
            project=run.project,
            domain=run.domain,
            org=run.org,
            raw_data_path=data_location(run.raw_data_path),
            env_vars=run.env_vars,
            labels=run.labels,
            annotations=run.annotations,
            overwrite_cache=run.overwrite_cache,
            use_cache=run.use_cache,
            interruptible=run.interruptible,
            interactive=run.interactive,
        )

    def _module(self, task: str) -> str:
        return self._deployed.find(task).document.module

    def _identity(self, task: str) -> str:
        image = self._deployed.find(task).image
        return image.identity or image.reference

    def _write_journal(self, number: int, events: list[Json]) -> None:
        name = names.journal_name(self._name, number)
        self._cluster.create(self._parcel(name, events, (), names.JOURNAL_KIND))

    def _write_result(self, output: Json, error: BaseException | None) -> None:
        journals, events = self._journal.close()
        failure = None
        if error is not None:
            failure = self._journal.clean(encode_failure(error))
        result = ResultDocument(
            output=output,
            error=failure,
            events=tuple(events),
            journals=journals,
            pod=self._pod,
        )
        try:
            self._pack_result(result)
        except InlineIOMaxBytesBreached as large:
            if result.output is None:
                raise
            self._pack_result(replace(result, output=None, error=encode_failure(large)))

    def _pack_result(self, result: ResultDocument) -> None:
        name = names.result_name(self._name)
        found = self._parcel(
            name, result.to_json(), blob_digests(result.output), names.RESULT_KIND
        )
        with suppress(AlreadyExistsError):
            # An earlier pod of this call wrote it, and was lost before it knew.
            self._lasting.create(found)

    def _parcel(
        self, name: str, document: Json, digests: Iterable[Digest], kind: str
    ) -> Json:
        """Return an object of this call."""
        labels: dict[str, str] = self._object["metadata"]["labels"]
        return parcel_object(
            name,
            document,
            digests,
            kind=kind,
            labels={key: text for key, text in labels.items() if key in _PASSED_ON},
            owner=self._run_object,
            blobs=self._blobs,
            store=self._store,
        )


#: Labels of call objects that their journals and results have too.
_PASSED_ON = frozenset(
    {names.RUN, names.ACTION, names.ATTEMPT, names.TASK, names.CALLER}
)


class _Split:
    """Runs the attempts at this pod's own call here, and all others in Jobs."""

    def __init__(self, action: str, here: Executor, jobs: Executor) -> None:
        self._action = action
        self._here = here
        self._jobs = jobs

    def check(self, attempt: Attempt) -> None:
        """Have the right executor check it."""
        self._of(attempt).check(attempt)

    async def execute(self, attempt: Attempt, placed: Placed) -> Json:
        """Have the right executor run it."""
        return await self._of(attempt).execute(attempt, placed)

    def delay(self, attempt: Attempt) -> str | None:
        """Ask the right executor."""
        return self._of(attempt).delay(attempt)

    def close(self) -> None:
        """End what is kept warm."""
        self._here.close()
        self._jobs.close()

    def _of(self, attempt: Attempt) -> Executor:
        own = attempt.context.action.name == self._action
        return self._here if own else self._jobs


async def _whatever_comes(work: Coroutine[Any, Any, None]) -> None:
    """Wait until *work* is done, also where this pod is told to end meanwhile."""
    task = asyncio.ensure_future(work)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    task.result()


def _unplaced(image: str | None = None, place: str | None = None) -> None:
    """Do nothing: who made the Job tells where it runs."""
