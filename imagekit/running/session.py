"""Everything that one run needs, put together from what was asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagekit.bundle import bundle_root, check_version, code_bundle
from imagekit.context import Mode
from imagekit.environment import environments
from imagekit.environment_images import image_of, with_dependencies
from imagekit.initialization import Configuration, configuration
from imagekit.naming import content_id, is_existing
from imagekit.records import dataclass
from imagekit.result_cache import ResultCache
from imagekit.run_records import RUNS, RunRecord, RunRecords
from imagekit.running.attempt import RunnableTask, template_of
from imagekit.running.controller import Controller, RunFacts
from imagekit.running.given_secrets import known_values
from imagekit.running.in_process import InProcessExecutor
from imagekit.running.printed import logged_prints
from imagekit.running.streaming import StreamingRecorder
from imagekit.secret_values import secret_environment
from imagekit.settings import Settings
from imagekit.task_environment import find_task
from imagekit.task_errors import ModuleLoadError, RuntimeUserError
from imagekit.value_blobs import ValueBlobs
from imagekit.values import blob_digests

if TYPE_CHECKING:
    from imagekit.bundle import Bundle
    from imagekit.run import Runner
    from imagekit.running.attempt import Executor
    from imagekit.task import TaskTemplate

_BLOBS = "blobs"
_RESULTS = "results"
#: In the folder of a run.
_FILES = "files"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A run that is about to begin.

    Attributes:
        bundle: the code that is sent to containers; None where none is.
    """

    runner: Runner
    task: TaskTemplate[..., Any]
    settings: Settings
    configured: Configuration
    mode: Mode
    bundle: Bundle | None

    @classmethod
    def of(cls, runner: Runner, task: TaskTemplate[..., Any], mode: Mode) -> Session:
        """Return the session for a run of *task*.

        Raises:
            DeploymentError: no code is sent, and no version is given.
            ImageKitError: the code can't be read, or a setting is wrong.
        """
        configured = configuration()
        bundle = None
        if mode != "local" or runner.copy_bundle_to is not None:
            check_version(runner.copy_style, runner.version)
            bundle = code_bundle(runner.copy_style, bundle_root(configured.root_dir))
        return cls(
            runner=runner,
            task=task,
            settings=configured.settings(),
            configured=configured,
            mode=mode,
            bundle=bundle,
        )

    @property
    def facts(self) -> RunFacts:
        """What all tasks of the run have in common; it has no name yet."""
        return self._facts("")

    def _facts(self, name: str, base_dir: str = "") -> RunFacts:
        runner, configured = self.runner, self.configured
        version = runner.version or (self.bundle.digest if self.bundle else "")
        interactive = runner.interactive_mode
        return RunFacts(
            name=name,
            mode=self.mode,
            version=version,
            project=runner.project or configured.project,
            domain=runner.domain or configured.domain,
            org=configured.org,
            raw_data_path=str(self._blobs_folder()),
            base_dir=base_dir,
            files=os.path.join(base_dir, _FILES) if base_dir else "",
            env_vars=runner.env_vars,
            labels=runner.labels,
            annotations=runner.annotations,
            overwrite_cache=runner.overwrite_cache,
            use_cache=not runner.disable_run_cache,
            interruptible=runner.interruptible,
            interactive=hasattr(sys, "ps1") if interactive is None else interactive,
        )

    def image_names(self, task: TaskTemplate[..., Any]) -> dict[str, str]:
        """Return the identifiers of the images of the task's environments."""
        return {
            item.name: image_of(item).identifier
            for item in with_dependencies([task.environment])
        }

    @contextmanager
    def recorded(self) -> Iterator[RunRecord]:
        """Have a record of the run, until the block ends."""
        if self.runner.log_level is not None:
            import logging  # noqa: PLC0415  (only where a level is set)

            logging.getLogger("imagekit").setLevel(self.runner.log_level)
        if self.runner.copy_bundle_to is not None and self.bundle is not None:
            self.bundle.copy_bundle_to(self.runner.copy_bundle_to)
        records = RunRecords(self._records_folder() / RUNS)
        facts = self.facts
        with records.create(
            self.runner.name,
            task=self.task.name,
            mode=self.mode,
            version=facts.version,
            labels=facts.labels,
            annotations=facts.annotations,
        ) as record:
            yield record

    def prints(self) -> AbstractContextManager[None]:
        """Log what tasks print, for as long as the run takes."""
        return logged_prints() if self.mode == "local" else nullcontext()

    def controller(self, record: RunRecord) -> Controller:
        """Return what runs the tasks."""
        blobs = ValueBlobs(self._blobs_folder())
        stream = self.runner.stream or sys.stderr
        recorder = StreamingRecorder(
            record,
            stream=stream if self.mode == "container" else None,
            listener=self.runner.listener,
        )
        environ = secret_environment(self.settings.secrets_dir)
        recorder.hide(known_values(all_secrets(self.task), environ))
        facts = self._facts(record.name, str(record.folder))
        executor, prepare = self._executor(blobs, facts.files, environ)
        return Controller(
            facts,
            executor=executor,
            recorder=recorder,
            blobs=blobs,
            results=ResultCache(
                self.settings.record_dir / _RESULTS,
                lambda outputs: all(map(blobs.has, blob_digests(outputs))),
            ),
            prepare=prepare,
            find=_find,
            image_of=_image_name,
            holds_secret=recorder.holds_secret,
            hide=lambda secrets: recorder.hide(known_values(secrets, environ)),
        )

    def _executor(
        self, blobs: ValueBlobs, files: str, environ: dict[str, str]
    ) -> tuple[Executor, Any]:
        if self.mode == "local":
            return InProcessExecutor(blobs, files=files, environ=environ), None
        from imagekit.running.container.executor import (  # noqa: PLC0415
            ContainerExecutor,
        )
        from imagekit.running.task_images import TaskImages  # noqa: PLC0415

        assert self.bundle is not None
        images = TaskImages(
            self.bundle, settings=self.settings, progress=self.runner.progress
        )
        executor = ContainerExecutor(
            images=images.of,
            blobs=blobs,
            environ=environ,
            max_containers=self.settings.containers,
            network=self.settings.network,
        )
        return executor, lambda task: images.of(template_of(task))

    def _records_folder(self) -> Path:
        if self.runner.run_base_dir is not None:
            return Path(os.path.abspath(self.runner.run_base_dir))
        return self.settings.record_dir

    def _blobs_folder(self) -> Path:
        path = self.runner.raw_data_path
        if path is None:
            return self.settings.record_dir / _BLOBS
        if "://" in path:
            raise RuntimeUserError(
                f"wanted a folder as raw_data_path, found {path!r}",
                hint="runs on this machine keep their data on it",
            )
        return Path(os.path.abspath(path))


def _find(name: str) -> TaskTemplate[..., Any]:
    task = find_task(name)
    if task is None:
        raise ModuleLoadError(
            f"a task in a container called {name!r}, which this process does not know",
            hint="define it where the module that is run here defines it too",
        )
    return task


def _image_name(runnable: RunnableTask) -> str:
    """Return what names the image of *task*, and all bytes that go into it."""
    image = image_of(template_of(runnable).environment)
    return image.identifier if is_existing(image) else content_id(image)


def all_secrets(task: TaskTemplate[..., Any]) -> Iterator[Any]:
    """Yield the secrets of *task*, and of all tasks that it may call."""
    yield from task.settings.secrets
    for environment in environments():
        yield from environment.secrets
        for item in getattr(environment, "tasks", {}).values():
            yield from item.settings.secrets
