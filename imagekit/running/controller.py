"""Decides for each call of a task what is run: nothing, or attempts until one is good.

It numbers and records the calls, looks into the cache of results, and gives attempts to
an executor, in the same way wherever that runs them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import Any

from imagekit.context import ActionID, Active, Mode, TaskContext
from imagekit.failures import encode_failure
from imagekit.records import dataclass, replace
from imagekit.result_cache import Results
from imagekit.run_events import ROOT, Ended, Json, Recorder, Started, Status
from imagekit.running.attempt import Attempt, EncodedCall, Executor, RunnableTask
from imagekit.running.attempts import Attempts, History, status_of
from imagekit.secret import Secret
from imagekit.task import TaskTemplate
from imagekit.task_cache import VersionParameters
from imagekit.task_errors import InlineIOMaxBytesBreached
from imagekit.task_settings import TaskSettings
from imagekit.value_blobs import ValueBlobs

_UNKNOWN = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What all tasks of a run have in common.

    Attributes:
        files: folder for the files that tasks are given and return; empty for
            temporary ones.
        bundle: the code bundle, for cache policies.
        env_vars: variables of all tasks, before their own.
        overwrite_cache: whether results are computed though they are known.
        use_cache: whether results of tasks are looked up and kept at all.
        interruptible: whether all tasks are; None leaves it to them.
    """

    name: str
    mode: Mode
    version: str = ""
    project: str | None = None
    domain: str | None = None
    org: str | None = None
    raw_data_path: str = ""
    base_dir: str = ""
    files: str = ""
    bundle: Any = None
    env_vars: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    overwrite_cache: bool = False
    use_cache: bool = True
    interruptible: bool | None = None
    interactive: bool = False


def task_context(facts: RunFacts, action: str, task: str) -> TaskContext:
    """Return what a task may know of itself.

    Args:
        facts: of its run.
        action: id of the call.
        task: full name.
    """
    return TaskContext(
        action=ActionID(
            name=action,
            run_name=facts.name,
            project=facts.project,
            domain=facts.domain,
            org=facts.org,
        ),
        task_name=task,
        version=facts.version,
        mode=facts.mode,
        raw_data_path=facts.raw_data_path,
        run_base_dir=facts.base_dir,
        interactive_mode=facts.interactive,
        labels=facts.labels,
        annotations=facts.annotations,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """A call of a task: what is run, with what, and as which action."""

    task: RunnableTask
    settings: TaskSettings
    inputs: Json
    action: str
    parent: str | None


class Controller:
    """Runs the tasks of one run.

    Args:
        facts: what all tasks have in common.
        executor: runs attempts.
        prepare: makes ready what a task needs before it waits in any queue, such as
            its image; may take long, and is called in a thread.
        find: finds a task by its full name, for calls that come out of containers.
        image_of: names the image of a task, for keys of the cache.
        holds_secret: tells whether outputs hold the value of a secret; such are not
            kept.
        hide: keeps the values of secrets out of records. A call may have secrets that
            no definition names.
        history: knows attempts of processes before this one.
    """

    def __init__(
        self,
        facts: RunFacts,
        *,
        executor: Executor,
        recorder: Recorder,
        blobs: ValueBlobs,
        results: Results,
        prepare: Callable[[RunnableTask], object] | None,
        find: Callable[[str], RunnableTask],
        image_of: Callable[[RunnableTask], str],
        holds_secret: Callable[[Json], bool],
        hide: Callable[[Collection[Secret]], None],
        history: History | None = None,
    ) -> None:
        self._facts = facts
        self._recorder = recorder
        self._blobs = blobs
        self._results = results
        self._find = find
        self._image_of = image_of
        self._holds_secret = holds_secret
        self._hide = hide
        self._hidden: set[Secret] = set()
        self._attempts = Attempts(executor, recorder, prepare=prepare, history=history)

    async def run(
        self, task: TaskTemplate[..., Any], inputs: Mapping[str, object]
    ) -> Any:
        """Run *task* as the run's own, and return what it returns."""
        return await self._decoded(task, inputs, ROOT, None)

    async def call(
        self, task: TaskTemplate[..., Any], inputs: Mapping[str, object], by: Active
    ) -> Any:
        """Run *task* for a task in this process that calls it."""
        return await self._decoded(task, inputs, by.next_id(), by.id)

    async def call_encoded(self, call: EncodedCall) -> Json:
        """Run a task for one in a container that calls it."""
        return await self._run(
            _Call(
                task=self._find(call.task),
                settings=call.settings,
                inputs=call.inputs,
                action=call.action,
                parent=call.parent,
            )
        )

    async def _decoded(
        self,
        task: TaskTemplate[..., Any],
        inputs: Mapping[str, object],
        action: str,
        parent: str | None,
    ) -> Any:
        call = _Call(
            task=task,
            settings=task.settings,
            inputs=task.interface.encode_inputs(inputs, self._blobs),
            action=action,
            parent=parent,
        )
        outputs = await self._run(call)
        files = self._facts.files or None
        return task.interface.decode_output(outputs, self._blobs, files=files)

    async def _run(self, call: _Call) -> Json:
        """Record the call, and see that it is answered."""
        new = set(call.settings.secrets) - self._hidden
        if new:
            self._hide(new)
            self._hidden |= new
        self._recorder.record(
            Started(
                id=call.action,
                parent=call.parent,
                kind="task",
                name=call.task.name,
                time=time.time(),
                inputs=call.inputs,
                environment=call.task.environment.name,
            )
        )
        try:
            outputs, status = await self._answered(call)
        except BaseException as error:
            ended = Ended(
                id=call.action,
                time=time.time(),
                status=status_of(error),
                error=encode_failure(error),
            )
            self._recorder.record(ended)
            raise
        self._recorder.record(
            Ended(id=call.action, time=time.time(), status=status, outputs=outputs)
        )
        return outputs

    async def _answered(self, call: _Call) -> tuple[Json, Status]:
        _check_size(call, call.inputs, "inputs")
        cache = call.settings.cache
        if not (cache.is_enabled() and self._facts.use_cache):
            return await self._computed(call), "succeeded"
        key = self._key(call)
        lock: AbstractAsyncContextManager[object] = (
            self._results.serialized(key) if cache.serialize else nullcontext()
        )
        async with lock:
            known = _UNKNOWN
            if not self._facts.overwrite_cache:
                known = await asyncio.to_thread(self._results.get, key, _UNKNOWN)
            if known is not _UNKNOWN:
                return known, "cached"
            outputs = await self._computed(call)
            if not self._holds_secret(outputs):
                keep = partial(self._results.put, key, outputs, task=call.task.name)
                await asyncio.to_thread(keep)
            return outputs, "succeeded"

    async def _computed(self, call: _Call) -> Json:
        settings = self._settings(call)
        attempt = Attempt(
            task=call.task,
            settings=settings,
            inputs=call.inputs,
            context=task_context(self._facts, call.action, call.task.name),
            caller=self,
            encoded=self,
            recorder=self._recorder,
        )
        outputs = await self._attempts.run(attempt)
        _check_size(call, outputs, "outputs")
        return outputs

    def _settings(self, call: _Call) -> TaskSettings:
        """Return the call's settings with what the run adds to them."""
        facts, settings = self._facts, call.settings
        variables = dict(facts.env_vars) | dict(settings.env_vars)
        interruptible = (
            settings.interruptible
            if facts.interruptible is None
            else facts.interruptible
        )
        return replace(
            settings, env_vars=tuple(variables.items()), interruptible=interruptible
        )

    def _key(self, call: _Call) -> str:
        cache = call.settings.cache
        image = self._image_of(call.task)
        parameters = VersionParameters(
            func=call.task.func,
            image=call.task.environment.image,
            code_bundle=self._facts.bundle,
        )
        ignored = cache.get_ignored_inputs()
        inputs = {
            name: value for name, value in call.inputs.items() if name not in ignored
        }
        return self._results.key(
            task=call.task.name,
            version=cache.get_version(parameters),
            interface=call.task.interface.describe(),
            inputs=inputs,
            image=image,
        )


def _check_size(call: _Call, document: Json, what: str) -> None:
    limit = call.settings.max_inline_io_bytes
    size = call.task.interface.size(document)
    if size > limit:
        raise InlineIOMaxBytesBreached(
            f"the {what} of {call.task.name!r} take {size} bytes, more than "
            f"max_inline_io_bytes={limit}",
            hint="hand large data on as a File, Dir or array, or raise the limit: "
            "@env.task(max_inline_io_bytes=...)",
        )
