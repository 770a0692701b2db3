"""Begins runs on a cluster: of tasks of this process, and of deployed ones."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from imagekit.cluster import names
from imagekit.cluster.documents import (
    CallDocument,
    EnvironmentDocument,
    Json,
    RunDocument,
    TaskDocument,
)
from imagekit.deploying import Deploying
from imagekit.missing_code import note_missing
from imagekit.records import dataclass, replace
from imagekit.remote.client import Client, configured_for
from imagekit.remote.local_record import begin_record
from imagekit.remote.remote_run import RemoteRun
from imagekit.remote.submission import Submission, name_of_run
from imagekit.run_events import ROOT
from imagekit.run_results import DryRun
from imagekit.running.cluster.raw_data import raw_data
from imagekit.running.given_secrets import known_values
from imagekit.running.session import Session, all_secrets
from imagekit.secret_values import secret_environment
from imagekit.task_cache import VersionParameters
from imagekit.task_errors import RunAbortedError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from imagekit.deployment_plan import DeploymentPlan
    from imagekit.run import Runner
    from imagekit.run_record import RunRecord
    from imagekit.task import TaskTemplate
    from imagekit.task_settings import TaskSettings

_FILES = "files"


def begin(
    runner: Runner,
    task: TaskTemplate[..., Any],
    inputs: Mapping[str, object],
    *,
    given_up: Callable[[], bool] = lambda: False,
) -> RemoteRun | DryRun:
    """Begin a run of *task*, deployed as it is now; what is current stays so.

    Args:
        runner: what the user wants.
        task: a task of this process.
        inputs: all of them.
        given_up: tells whether the user wants it no more, while images are built.

    Raises:
        RunAbortedError: the user wants it no more.
        ImageKitError: it can't be deployed, or the cluster refuses.
    """
    session = Session.of(runner, task, "remote")
    assert session.bundle is not None
    if runner.copy_bundle_to is not None:
        session.bundle.copy_bundle_to(runner.copy_bundle_to)
    deploying = Deploying.of(
        session.bundle,
        settings=session.settings,
        configuration=configured_for(runner, session.configured),
        progress=runner.progress,
    )
    (plan,) = deploying.plan([task.environment], runner.version)
    if runner.dry_run:
        return DryRun(
            task=task.name,
            mode="remote",
            inputs=inputs,
            images=plan.images,
            version=plan.version,
            code_bundle=session.bundle,
        )
    client = Client.of(session.settings, session.configured, runner)
    run = _document(client, task.name, plan.version, plan.documents)
    documents = task.interface.encode_inputs(inputs, client.blobs)
    call = _call(run, _settings(task), documents)
    environ = secret_environment(session.settings.secrets_dir)

    def prepare() -> None:
        _deploy(deploying, plan, client)
        if given_up():
            raise RunAbortedError(f"the run {run.name!r} was given up before it began")

    return _Beginning(
        client=client,
        run=run,
        call=call,
        hidden=known_values(all_secrets(task), environ),
    ).begin(
        prepare=prepare,
        decoded=lambda output, folder: task.interface.decode_output(
            output, client.blobs, files=str(folder / _FILES)
        ),
        noted=lambda error: note_missing(error, runner.copy_style),
    )


def begin_deployed(
    client: Client,
    environments: tuple[EnvironmentDocument, ...],
    task: TaskDocument,
    inputs: Mapping[str, Json],
) -> RemoteRun:
    """Begin a run of a task that is deployed.

    Args:
        client: reaches the cluster.
        environments: that of the task first, and those that it depends on.
        task: the task.
        inputs: all of them, encoded; their large parts are where the client has them.

    Raises:
        ImageKitError: the cluster refuses, or the inputs are too large.
    """
    run = _document(client, task.name, environments[0].version, environments)
    call = _call(run, task.settings, inputs)
    return _Beginning(client=client, run=run, call=call).begin(
        prepare=lambda: None,
        decoded=lambda output, folder: client.readable(task, output, folder / _FILES),
        noted=lambda _error: None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Beginning:
    """A run that is about to begin.

    Attributes:
        hidden: values of secrets, which are kept out of its record.
    """

    client: Client
    run: RunDocument
    call: CallDocument
    hidden: frozenset[str] = frozenset()

    def begin(
        self,
        *,
        prepare: Callable[[], None],
        decoded: Callable[[Json, Path], Any],
        noted: Callable[[BaseException], None],
    ) -> RemoteRun:
        """Have all ready, and begin it; see :class:`RemoteRun` for the rest."""
        client, run = self.client, self.run
        submission = Submission(
            cluster=client.cluster,
            run=run,
            call=self.call,
            blobs=client.blobs,
            store=raw_data(run.raw_data_path),
        )
        submission.check()
        record = None if client.runner.detach else self._recorded()
        try:
            prepare()
            known = submission.submit()
        except BaseException as error:
            if record is not None:
                record.__exit__(type(error), error, None)
            raise
        timeout = self.call.settings.timeout
        records = [record] if record is not None else []
        found = RemoteRun(
            client.cluster,
            known,
            record=lambda: (
                records.pop()
                if records
                else begin_record(client.records, run, is_new=False)
            ),
            follower=lambda into: client.follower(
                known,
                into,
                queued=timeout.queued_seconds if timeout else None,
                hidden=self.hidden,
            ),
            decoded=decoded,
            noted=noted,
            place=client.records,
        )
        if record is not None:
            found.follow()
        return found

    def _recorded(self) -> RunRecord:
        record = begin_record(self.client.records, self.run, is_new=True)
        if self.client.runner.begun is not None:
            self.client.runner.begun(record)
        return record


def _deploy(deploying: Deploying, plan: DeploymentPlan, client: Client) -> None:
    """Have the images in the registry and the environments on the cluster."""
    from imagekit.cluster.applying import apply_objects  # noqa: PLC0415  (only to deploy)

    pushed = deploying.push([plan])
    objects = [
        item
        for item in deploying.manifests(pushed.plans, pinned=True)
        if item["metadata"]["labels"][names.KIND] != names.CURRENT_KIND
    ]
    apply_objects(client.cluster, objects, progress=deploying.progress)


def _document(
    client: Client,
    task: str,
    version: str,
    environments: Iterable[EnvironmentDocument],
) -> RunDocument:
    runner, settings, configured = client.runner, client.settings, client.configuration
    interactive = runner.interactive_mode
    return RunDocument(
        name=name_of_run(runner.name),
        task=task,
        version=version,
        environments={
            item.name: names.environment_name(item.name, item.version)
            for item in environments
        },
        started=time.time(),
        raw_data_path=runner.raw_data_path or settings.raw_data_path or "",
        most=settings.max_pods,
        service_account=runner.service_account or "",
        project=runner.project or configured.project,
        domain=runner.domain or configured.domain,
        org=configured.org,
        env_vars=runner.env_vars,
        labels=runner.labels,
        annotations=runner.annotations,
        overwrite_cache=runner.overwrite_cache,
        use_cache=not runner.disable_run_cache,
        interruptible=runner.interruptible,
        interactive=hasattr(sys, "ps1") if interactive is None else interactive,
    )


def _call(
    run: RunDocument, settings: TaskSettings, inputs: Mapping[str, Json]
) -> CallDocument:
    """Return the call of the run's own task, with what the run adds to its settings."""
    interruptible = (
        settings.interruptible if run.interruptible is None else run.interruptible
    )
    variables = dict(run.env_vars) | dict(settings.env_vars)
    return CallDocument(
        run=run.name,
        action=ROOT,
        attempt=0,
        task=run.task,
        settings=replace(
            settings, env_vars=tuple(variables.items()), interruptible=interruptible
        ),
        inputs=dict(inputs),
    )


def _settings(task: TaskTemplate[..., Any]) -> TaskSettings:
    parameters = VersionParameters(func=task.func, image=task.environment.image)
    return task.settings.with_cache_version(task.settings.cache.get_version(parameters))
