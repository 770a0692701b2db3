"""``run()``: a task and all that it calls, here, in containers or on a cluster."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeAlias

from imagekit.blocking import finish
from imagekit.context import Mode as PlaceMode
from imagekit.context import active
from imagekit.errors import DefinitionError
from imagekit.initialization import configuration
from imagekit.progress import Progress, silent
from imagekit.records import dataclass
from imagekit.run_results import DryRun, Run
from imagekit.task_errors import InitializationError

if TYPE_CHECKING:
    from imagekit.bundle import CopyStyle
    from imagekit.remote.remote_run import RemoteRun
    from imagekit.run_records import RunRecord
    from imagekit.running.session import Session
    from imagekit.running.streaming import Listener
    from imagekit.task import TaskTemplate

__all__ = ["DryRun", "Run", "Runner", "run", "with_runcontext"]

Mode: TypeAlias = Literal["local", "container", "remote", "hybrid"]

_PLACES: tuple[PlaceMode, ...] = ("local", "container", "remote")
#: There in the processes in containers that run tasks.
_WORKER = "imagekit.runtime.worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Runs tasks as it was told by :func:`with_runcontext`.

    Attributes:
        stream: receives what tasks in containers print; None for stderr.
        listener: receives the events of the run.
        begun: is given the record of the run when it begins.
        progress: receives the events of the images that are built for it.
        detach: whether a run on a cluster is begun, and not followed.
    """

    mode: Mode | None = None
    name: str | None = None
    service_account: str | None = None
    version: str | None = None
    copy_style: CopyStyle = "loaded_modules"
    dry_run: bool = False
    copy_bundle_to: Path | None = None
    interactive_mode: bool | None = None
    raw_data_path: str | None = None
    run_base_dir: str | None = None
    overwrite_cache: bool = False
    project: str | None = None
    domain: str | None = None
    env_vars: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    annotations: tuple[tuple[str, str], ...] = ()
    interruptible: bool | None = None
    log_level: int | None = None
    disable_run_cache: bool = False
    stream: TextIO | None = None
    listener: Listener | None = None
    begun: Callable[[RunRecord], None] | None = None
    progress: Progress = silent
    detach: bool = False

    @property
    def run(self) -> _RunCall:
        """``run(task, ...)`` blocks; ``await run.aio(task, ...)`` does not."""
        return _RunCall(runner=self)


@dataclass(frozen=True, slots=True, kw_only=True)
class _RunCall:
    runner: Runner

    def __call__(
        self, task: TaskTemplate[..., Any], /, *args: Any, **kwargs: Any
    ) -> Run | RemoteRun | DryRun:
        """Run *task* with these inputs.

        On a cluster, the run goes on when this returns; ``outputs()`` waits for it.
        Tracebacks have the lines of the user's code, and leave out those that run it;
        ``log_level=logging.DEBUG`` shows all.

        Raises:
            Exception: what the task raised.
            ImageKitError: see :mod:`imagekit.errors` and :mod:`imagekit.task_errors`.
        """
        _check(task)
        try:
            return finish(self._run(task, args, kwargs))
        except Exception as error:
            _trim(error)
            raise

    async def aio(
        self, task: TaskTemplate[..., Any], /, *args: Any, **kwargs: Any
    ) -> Run | RemoteRun | DryRun:
        """Run *task* with these inputs, without blocking the event loop."""
        _check(task)
        try:
            return await self._run(task, args, kwargs)
        except Exception as error:
            _trim(error)
            raise

    async def _run(
        self,
        task: TaskTemplate[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Run | RemoteRun | DryRun:
        from imagekit.running.session import Session  # noqa: PLC0415  (only to run)

        runner = self.runner
        inputs = task.interface.bind(args, kwargs)
        place = place_of(runner.mode)
        _check_here(place)
        if place == "remote":
            return await _begin_remote(runner, task, inputs)
        session = Session.of(runner, task, place)
        if runner.dry_run:
            return _dry(session, task, inputs)
        return await _run(session, task, inputs)


def _check(task: object) -> None:
    """Raise TypeError unless *task* is one."""
    from imagekit.task import checked_task  # noqa: PLC0415  (only to run)

    checked_task(task)


def _check_here(place: PlaceMode) -> None:
    """Raise InitializationError where no run can be started."""
    if _WORKER not in sys.modules:
        return
    if active() is None:
        raise InitializationError(
            "it starts a run when it is loaded; write that below "
            "if __name__ == '__main__'"
        )
    if place != "local":
        raise InitializationError(
            "a task in a container can't start a run in containers or on a cluster",
            hint="call the other task as a function: await other(...)",
        )


def place_of(mode: Mode | None) -> PlaceMode:
    """Return where tasks run.

    Raises:
        InitializationError: nothing is set up for that.
    """
    wanted = mode or configuration().settings().mode
    for place in _PLACES:
        if wanted == place:
            return place
    raise InitializationError(
        f"wanted the mode 'local', 'container' or 'remote', found {wanted!r}",
        hint="'container' runs each task in its image; 'local' in this process; "
        "'remote' on a cluster",
    )


async def _begin_remote(
    runner: Runner, task: TaskTemplate[..., Any], inputs: Mapping[str, object]
) -> RemoteRun | DryRun:
    from threading import Event  # noqa: PLC0415  (slow to import)

    from imagekit.remote.beginning import begin  # noqa: PLC0415  (only there)
    from imagekit.running.background import in_background  # noqa: PLC0415  (likewise)

    given_up = Event()
    try:
        return await in_background(
            lambda: begin(runner, task, inputs, given_up=given_up.is_set),
            name="imagekit begin",
        )
    finally:
        given_up.set()  # Ctrl-C: what is being built must not be run after that


async def _run(
    session: Session, task: TaskTemplate[..., Any], inputs: Mapping[str, object]
) -> Run:
    with session.recorded() as record, session.prints():
        if session.runner.begun is not None:
            session.runner.begun(record)
        try:
            outputs = await session.controller(record).run(task, inputs)
        except Exception as error:
            record.finish("failed")
            if session.mode == "container":
                from imagekit.missing_code import note_missing  # noqa: PLC0415

                note_missing(error, session.runner.copy_style)
            raise
        except BaseException:
            record.finish("aborted")
            raise
        record.finish("succeeded")
    return Run(
        name=record.name,
        url=str(record.folder),
        mode=session.facts.mode,
        status="succeeded",
        version=session.facts.version,
        _outputs=outputs,
    )


def _dry(
    session: Session, task: TaskTemplate[..., Any], inputs: Mapping[str, object]
) -> DryRun:
    return DryRun(
        task=task.name,
        mode=session.facts.mode,
        inputs=inputs,
        images=session.image_names(task),
        version=session.facts.version,
        code_bundle=session.bundle,
    )


def with_runcontext(
    mode: Mode | None = None,
    *,
    name: str | None = None,
    service_account: str | None = None,
    version: str | None = None,
    copy_style: CopyStyle = "loaded_modules",
    dry_run: bool = False,
    copy_bundle_to: Path | None = None,
    interactive_mode: bool | None = None,
    raw_data_path: str | None = None,
    run_base_dir: str | None = None,
    overwrite_cache: bool = False,
    project: str | None = None,
    domain: str | None = None,
    env_vars: Mapping[str, str] | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    interruptible: bool | None = None,
    log_level: int | None = None,
    disable_run_cache: bool = False,
) -> Runner:
    """Return what runs tasks as these parameters say.

    Args:
        mode: ``local`` runs tasks in this process, ``container`` in their images on
            this machine, ``remote`` on a cluster; by default as the settings have it.
        name: name of the run, which no other may have; by default one is made up.
        service_account: account of tasks on a cluster.
        version: version of the code; by default the digest of the code bundle.
        copy_style: the code that is sent to containers: ``loaded_modules``, ``all`` of
            the root folder, or ``none``, which needs a version.
        dry_run: only say what would be run; touch nothing.
        copy_bundle_to: a folder that receives the code bundle too.
        interactive_mode: whether a person waits, as in a notebook; by default found
            out.
        raw_data_path: where files and arrays are that go from task to task: a folder,
            or on a cluster what the setting ``raw-data-path`` may be.
        run_base_dir: folder for the record, in place of that of the settings.
        overwrite_cache: compute results even if they are known, and keep them.
        project: for task contexts, and on a cluster the namespace, unless the setting
            ``namespace`` gives that; by default that of ``init()``.
        domain: likewise.
        env_vars: variables of all tasks; those of environments come after them.
        labels: kept with the record of the run.
        annotations: likewise.
        interruptible: whether tasks may be killed; by default as they are defined.
        log_level: level of the ``imagekit`` logger.
        disable_run_cache: neither look up results of tasks nor keep them.

    Raises:
        DefinitionError: an argument can't mean anything.
    """
    from imagekit.bundle import check_copy_style  # noqa: PLC0415  (only to run)
    from imagekit.environment import variables_from_request  # noqa: PLC0415

    check_copy_style(copy_style)
    return Runner(
        mode=mode,
        name=name,
        service_account=service_account,
        version=version,
        copy_style=copy_style,
        dry_run=dry_run,
        copy_bundle_to=copy_bundle_to and Path(os.path.abspath(copy_bundle_to)),
        interactive_mode=interactive_mode,
        raw_data_path=raw_data_path,
        run_base_dir=run_base_dir,
        overwrite_cache=overwrite_cache,
        project=project,
        domain=domain,
        env_vars=tuple(variables_from_request(env_vars).items()),
        labels=_pairs("labels", labels),
        annotations=_pairs("annotations", annotations),
        interruptible=interruptible,
        log_level=log_level,
        disable_run_cache=disable_run_cache,
    )


run = Runner().run


def _trim(error: Exception) -> None:
    """Leave what runs tasks out of a traceback; a log level of DEBUG keeps it."""
    import logging  # noqa: PLC0415  (only for errors)

    from imagekit.failure_texts import trim_traceback  # noqa: PLC0415  (only for errors)

    if not logging.getLogger("imagekit").isEnabledFor(logging.DEBUG):
        trim_traceback(error)


def _pairs(what: str, values: object) -> tuple[tuple[str, str], ...]:
    given = {} if values is None else values
    if isinstance(given, Mapping):
        pairs = tuple(given.items())
        if all(isinstance(text, str) for pair in pairs for text in pair):
            return pairs
    raise DefinitionError(
        f"wanted {what} as a mapping of texts to texts, found {values!r}"
    )
