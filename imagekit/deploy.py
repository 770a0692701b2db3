"""``deploy()``: environments, their images and their code, as one version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from imagekit.environment import Environment
from imagekit.initialization import configuration
from imagekit.progress import Progress, silent
from imagekit.records import dataclass
from imagekit.task_errors import DeploymentError

if TYPE_CHECKING:
    from imagekit.bundle import CopyStyle
    from imagekit.cluster.applying import Applied
    from imagekit.deployment_plan import DeploymentPlan

__all__ = ["Deployment", "deploy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One environment, with all that it depends on, and what they are or would be.

    Attributes:
        envs: environments by name, the one that was asked for first.
        images: environment to its image: by digest where it was deployed, else what
            names it and every byte of it.
        tasks: full names of the tasks.
        version: the version of all of it.
        dryrun: whether it was only worked out.
        manifests: the objects on the cluster, as manifests have them.
        applied: what became of each of them; nothing where it was only worked out.
    """

    envs: Mapping[str, Environment]
    images: Mapping[str, str]
    tasks: tuple[str, ...]
    version: str
    dryrun: bool
    manifests: tuple[Mapping[str, Any], ...] = ()
    applied: tuple[Applied, ...] = ()

    def summary_repr(self) -> str:
        """Return it as a line for people."""
        names = ", ".join(self.envs)
        return f"{names}: {len(self.tasks)} tasks, version {self.version}"


class _Deploy:
    """``deploy(env)`` blocks; ``await deploy.aio(env)`` does not."""

    def __call__(
        self,
        *envs: Environment,
        dryrun: bool = False,
        version: str | None = None,
        interactive_mode: bool | None = None,
        copy_style: CopyStyle = "loaded_modules",
        progress: Progress = silent,
    ) -> list[Deployment]:
        """Deploy environments, with all that they depend on.

        Their images are built and pushed, and the cluster of the settings is given a
        description of each environment and a template of each task's pods. What is
        there already is left as it is. Earlier versions stay.

        Args:
            envs: environments.
            dryrun: only work out what would be deployed; touch nothing. Images are
                named by tags then, as their digests are not known.
            version: the version; by default made from the code, the images and how
                each task runs.
            interactive_mode: whether this is a notebook; makes no difference.
            copy_style: the code that goes along: ``loaded_modules``, ``all`` of the
                root folder, or ``none``, which needs a version.
            progress: receives events.

        Raises:
            DeploymentError: the environments can't be deployed as asked.
            InitializationError: there is no registry or no cluster to deploy to.
            ImageBuildError: an image can't be built or pushed.
            ClusterError: the cluster refuses, or can't be reached.
        """
        from imagekit.bundle import (  # noqa: PLC0415  (only to deploy)
            bundle_root,
            check_version,
            code_bundle,
        )
        from imagekit.deploying import Deploying  # noqa: PLC0415  (likewise)

        del interactive_mode
        if not envs:
            raise DeploymentError("wanted environments to deploy, found none")
        check_version(copy_style, version)
        configured = configuration()
        deploying = Deploying.of(
            code_bundle(copy_style, bundle_root(configured.root_dir)),
            settings=configured.settings(),
            configuration=configured,
            progress=progress,
        )
        plans = deploying.plan(envs, version)
        if dryrun:
            return [
                _deployment(plan, deploying.manifests([plan], pinned=False), ())
                for plan in plans
            ]
        done = deploying.carry_out(plans)
        return [
            _deployment(plan, deploying.manifests([plan], pinned=True), done.applied)
            for plan in done.plans
        ]

    async def aio(self, *envs: Environment, **options: Any) -> list[Deployment]:
        """Deploy in a thread, so that the event loop goes on."""
        import asyncio  # noqa: PLC0415  (slow to import)

        return await asyncio.to_thread(self, *envs, **options)


def _deployment(
    plan: DeploymentPlan,
    manifests: tuple[Mapping[str, Any], ...],
    applied: tuple[Applied, ...],
) -> Deployment:
    names = {(item["kind"], item["metadata"]["name"]) for item in manifests}
    return Deployment(
        envs={item.name: item for item in plan.environments},
        images=plan.images,
        tasks=plan.tasks,
        version=plan.version,
        dryrun=not applied,
        manifests=manifests,
        applied=tuple(item for item in applied if (item.kind, item.name) in names),
    )


deploy = _Deploy()
