"""A call that runs in this pod: from its object on the cluster to its result there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from imagekit.cluster import names
from imagekit.cluster.api import Cluster
from imagekit.cluster.documents import CallDocument
from imagekit.records import replace
from imagekit.run_events import Json
from imagekit.running.attempt import Attempt, EncodedCall, Executor, Placed
from imagekit.running.cluster.call_objects import CallObjects
from imagekit.running.cluster.call_parts import CallParts
from imagekit.running.cluster.callee_executor import CalleeExecutor
from imagekit.running.cluster.cluster_results import ClusterResults
from imagekit.running.cluster.earlier_results import EarlierResults, Recovering
from imagekit.running.cluster.parcel_objects import parcel_of
from imagekit.running.cluster.pod_executor import PodExecutor
from imagekit.running.cluster.pod_output import Printing
from imagekit.running.cluster.pod_secrets import values_here
from imagekit.running.cluster.root_history import RootHistory
from imagekit.running.cluster.run_here import RunHere
from imagekit.running.cluster.surely import surely
from imagekit.running.controller import Controller, task_context
from imagekit.value_blobs import ValueBlobs


class CallHere:
    """A call that runs in this pod; making one waits for the cluster.

    Args:
        cluster: where it is.
        lasting: likewise, with the patience that a result is worth.
        found: the call object.
        run: what it belongs to.
        pod: name of this pod.
        blobs: the large parts of inputs and outputs.
        printing: takes what its task prints.

    Raises:
        ImageKitError: it can't be read, or was not deployed.
    """

    def __init__(
        self,
        cluster: Cluster,
        lasting: Cluster,
        found: Json,
        run: RunHere,
        *,
        pod: str,
        blobs: ValueBlobs,
        printing: Printing,
    ) -> None:
        self._cluster = cluster
        self._name: str = found["metadata"]["name"]
        self._object = found
        self._run = run
        self._pod = pod
        self._blobs = blobs
        self._printing = printing
        self._call = CallDocument.from_json(parcel_of(found, blobs, run.store))
        self._task = run.deployed.find(self._call.task)
        self._history = RootHistory(
            cluster, found, pod=pod, blobs=blobs, store=run.store
        )
        self._parts = CallParts(
            cluster,
            lasting,
            found,
            self._call,
            run,
            pod=pod,
            blobs=blobs,
            printing=printing,
            history=self._history,
        )
        self._journal = self._parts.journal
        self._callees: CalleeExecutor | None = None

    async def run(
        self, place: Callable[[PodExecutor], Executor] = lambda here: here
    ) -> None:
        """Run the call, and write its result; nothing is written if it is cancelled.

        Args:
            place: gives what runs its attempts, with what this pod can do.

        Raises:
            ImageKitError: the result can't be written.
        """
        self._journal.hide(values_here(self._call.settings.secrets))
        here = place(
            PodExecutor(
                image=self._task.image,
                module=self._module,
                pod=self._pod,
                blobs=self._blobs,
            )
        )
        self._callees = callees = CalleeExecutor.of(
            self._objects(), self._name, most=self._run.document.most
        )
        error: BaseException | None = None
        output: Json = None
        try:
            output = await self._output(here, callees)
        except asyncio.CancelledError:
            raise
        except BaseException as raised:  # noqa: BLE001  (it is handed on)
            error = raised
        finally:
            self._printing.end(self._call.action)
        await surely(asyncio.to_thread(self._parts.write_result, output, error))

    async def settled(self) -> None:
        """Wait until the pods of all that it has called have ended."""
        if self._callees is not None:
            await self._callees.settled()

    def close(self) -> None:
        """End all that is done for it beside."""
        self._journal.abandon()
        if self._callees is not None:
            self._callees.close()

    async def _output(self, here: Executor, callees: CalleeExecutor) -> Json:
        call = self._call
        if call.attempt:
            controller = self._controller(callees)
            attempt = Attempt(
                task=self._task,
                settings=call.settings,
                inputs=call.inputs,
                context=replace(
                    task_context(self._run.facts, call.action, call.task),
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
            store=self._run.store,
        )
        others = Recovering(earlier, callees)
        controller = self._controller(_Split(call.action, here, others))
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
            self._run.facts,
            executor=executor,
            recorder=journal,
            blobs=self._blobs,
            results=ClusterResults(
                self._cluster,
                blobs=self._blobs,
                store=self._run.store,
                note=logging.getLogger("imagekit").info,
            ),
            prepare=None,
            find=self._run.deployed.find,
            image_of=lambda task: self._identity(task.name),
            holds_secret=journal.holds_secret,
            hide=lambda secrets: journal.hide(values_here(secrets)),
            history=self._history,
        )

    def _objects(self) -> CallObjects:
        is_pooled = names.POOL in self._object["metadata"]["labels"]
        return CallObjects(
            self._cluster,
            self._run.document,
            caller=self._name,
            owner=self._run.object,
            # What a pool's pod begins has to end with the call, not with the pod.
            parent=self._object if is_pooled else None,
            deployed=self._run.deployed,
            blobs=self._blobs,
            store=self._run.store,
        )

    def _module(self, task: str) -> str:
        return self._run.deployed.find(task).document.module

    def _identity(self, task: str) -> str:
        image = self._run.deployed.find(task).image
        return image.identity or image.reference


class _Split:
    """Runs the attempts at this pod's own call here, and all others elsewhere."""

    def __init__(self, action: str, here: Executor, callees: Executor) -> None:
        self._action = action
        self._here = here
        self._callees = callees

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
        self._callees.close()

    def _of(self, attempt: Attempt) -> Executor:
        own = attempt.context.action.name == self._action
        return self._here if own else self._callees


def _unplaced(image: str | None = None, place: str | None = None) -> None:
    """Do nothing: who has it run tells where."""
