"""``deploy()``: environments, their images and their code, as one version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imagekit.deployment_plan import Deployment, plan_deployments
from imagekit.environment import Environment
from imagekit.initialization import configuration
from imagekit.task_errors import DeploymentError, InitializationError

if TYPE_CHECKING:
    from imagekit.bundle import CopyStyle

__all__ = ["Deployment", "deploy"]


class _Deploy:
    """``deploy(env)`` blocks; ``await deploy.aio(env)`` does not."""

    def __call__(
        self,
        *envs: Environment,
        dryrun: bool = False,
        version: str | None = None,
        interactive_mode: bool | None = None,
        copy_style: CopyStyle = "loaded_modules",
    ) -> list[Deployment]:
        """Deploy environments, with all that they depend on.

        Args:
            envs: environments.
            dryrun: only work out what would be deployed; touch nothing.
            version: the version; by default made from the code, the images and how
                each task runs.
            interactive_mode: whether this is a notebook; makes no difference.
            copy_style: the code that goes along: ``loaded_modules``, ``all`` of the
                root folder, or ``none``, which needs a version.

        Raises:
            DeploymentError: the environments can't be deployed as asked.
            InitializationError: there is no cluster to deploy to.
        """
        from imagekit.bundle import (  # noqa: PLC0415  (only to deploy)
            bundle_root,
            check_version,
            code_bundle,
        )

        del interactive_mode
        if not envs:
            raise DeploymentError("wanted environments to deploy, found none")
        check_version(copy_style, version)
        if not dryrun:
            raise InitializationError(
                "no cluster is set up to deploy to",
                hint="deploy(..., dryrun=True) shows what would be deployed",
            )
        bundle = code_bundle(copy_style, bundle_root(configuration().root_dir))
        return plan_deployments(envs, bundle=bundle, version=version, dryrun=dryrun)

    async def aio(self, *envs: Environment, **options: Any) -> list[Deployment]:
        """Deploy in a thread, so that the event loop goes on."""
        import asyncio  # noqa: PLC0415  (slow to import)

        return await asyncio.to_thread(self, *envs, **options)


deploy = _Deploy()
