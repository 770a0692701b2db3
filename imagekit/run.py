"""``run()``: one task, and all that it calls, in this process or in containers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeAlias

from imagekit.blocking import finish
from imagekit.context import Mode as PlaceMode
from imagekit.initialization import configuration
from imagekit.records import dataclass, field
from imagekit.run_events import Status
from imagekit.task_errors import InitializationError

if TYPE_CHECKING:
    from imagekit.bundle import Bundle, CopyStyle
    from imagekit.run_records import RunView
    from imagekit.running.session import Session
    from imagekit.running.streaming import Listener
    from imagekit.task import TaskTemplate

__all__ = ["DryRun", "Run", "Runner", "run", "with_runcontext"]

Mode: TypeAlias = Literal["local", "container", "remote", "hybrid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run that is over.

    Attributes:
        name: names it among all runs.
        url: the folder where it is recorded.
        status: how it ended.
        version: version of the code; empty where no code was sent anywhere.
    """

    name: str
    url: str
    mode: PlaceMode
    status: Status
    version: str
    _outputs: Any = field(default=None, compare=False)

    @property
    def phase(self) -> Status:
        """How it ended: *status*, as Flyte calls it."""
        return self.status

    def outputs(self) -> Any:
        """Return what the task returned."""
        return self._outputs

    def wait(self) -> None:
        """Do nothing: it is over."""

    def done(self) -> bool:
        """Return True: it is over."""
        return True

    def details(self) -> RunView:
        """Return what is recorded of the run."""
        from imagekit.run_records import RunRecords  # noqa: PLC0415  (only if asked)

        folder = Path(self.url)
        return RunRecords(folder.parent).open(folder.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What a run would do.

    Attributes:
        task: full name of the task.
        inputs: its inputs, defaults filled in.
        images: names of environments to identifiers of their images.
        code_bundle: the code that would be sent; None where none would.
    """

    task: str
    mode: PlaceMode
    inputs: Mapping[str, Any]
    images: Mapping[str, str]
    version: str
    code_bundle: Bundle | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Runs tasks as it was told by :func:`with_runcontext`.

    Attributes:
        stream: receives what tasks in containers print; None for stderr.
        listener: receives the events of the run.
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

    @property
    def run(self) -> _RunCall:
        """``run(task, ...)`` blocks; ``await run.aio(task, ...)`` does not."""
        return _RunCall(runner=self)


@dataclass(frozen=True, slots=True, kw_only=True)
class _RunCall:
    runner: Runner

    def __call__(
        self, task: TaskTemplate[..., Any], *args: Any, **kwargs: Any
    ) -> Run | DryRun:
        """Run *task* with these inputs.

        Raises:
            Exception: what the task raised.
            ImageKitError: see :mod:`imagekit.errors` and :mod:`imagekit.task_errors`.
        """
        return finish(self.aio(task, *args, **kwargs))

    async def aio(
        self, task: TaskTemplate[..., Any], *args: Any, **kwargs: Any
    ) -> Run | DryRun:
        """Run *task* with these inputs, without blocking the event loop."""
        from imagekit.running.session import Session  # noqa: PLC0415  (only to run)

        runner = self.runner
        inputs = task.interface.bind(args, kwargs)
        session = Session.of(runner, task, place_of(runner.mode))
        if runner.dry_run:
            return _dry(session, task, inputs)
        return await _run(session, task, inputs)


def place_of(mode: Mode | None) -> PlaceMode:
    """Return where tasks run.

    Raises:
        InitializationError: nothing is set up for that.
    """
    wanted = mode or configuration().settings().mode
    if wanted == "local":
        return "local"
    if wanted == "container":
        return "container"
    if wanted == "remote":
        raise InitializationError(
            "no cluster is set up for mode 'remote'",
            hint="use mode 'container', which runs tasks in their images here",
        )
    raise InitializationError(
        f"wanted the mode 'local' or 'container', found {wanted!r}",
        hint="'container' runs each task in its image; 'local' in this process",
    )


async def _run(
    session: Session, task: TaskTemplate[..., Any], inputs: Mapping[str, object]
) -> Run:
    with session.recorded() as record, session.prints():
        try:
            outputs = await session.controller(record).run(task, inputs)
        except Exception:
            record.finish("failed")
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
        mode: ``local`` runs tasks in this process, ``container`` in their images; by
            default as the settings have it.
        name: name of the run, which no other may have; by default one is made up.
        service_account: account of tasks on a cluster.
        version: version of the code; by default the digest of the code bundle.
        copy_style: the code that is sent to containers: ``loaded_modules``, ``all`` of
            the root folder, or ``none``, which needs a version.
        dry_run: only say what would be run; touch nothing.
        copy_bundle_to: a folder that receives the code bundle too.
        interactive_mode: whether a person waits, as in a notebook; by default found
            out.
        raw_data_path: folder for files and arrays that go from task to task.
        run_base_dir: folder for the record, in place of that of the settings.
        overwrite_cache: compute results even if they are known, and keep them.
        project: for task contexts; by default that of ``init()``.
        domain: likewise.
        env_vars: variables of all tasks; those of environments come after them.
        labels: kept with the record of the run.
        annotations: likewise.
        interruptible: whether tasks may be killed; by default as they are defined.
        log_level: level of the ``imagekit`` logger.
        disable_run_cache: neither look up results of tasks nor keep them.
    """
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
        env_vars=_pairs(env_vars),
        labels=_pairs(labels),
        annotations=_pairs(annotations),
        interruptible=interruptible,
        log_level=log_level,
        disable_run_cache=disable_run_cache,
    )


run = Runner().run


def _pairs(values: Mapping[str, str] | None) -> tuple[tuple[str, str], ...]:
    return tuple((values or {}).items())
