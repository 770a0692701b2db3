"""A plan to a Dockerfile, for the frontend that every BuildKit has built in.

What an expert would write by hand: the base by digest, files from a context that holds
nothing else, caches and secrets mounted, one user and one working directory in the
end. Commands run as root. What has to do with Python is in
:mod:`imagekit_buildkit.python_install`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from imagekit.errors import ImageKitError, UnsupportedLayerError
from imagekit.oci.config import read_config
from imagekit.oci.document import read_json
from imagekit.plan import (
    AddLayers,
    BaseImage,
    BuildDockerfile,
    CopyTree,
    CreateVenv,
    InstallAptPackages,
    InstallDistributions,
    LayoutSource,
    Plan,
    PlatformPlan,
    RegistrySource,
    RunCommands,
    SetEnv,
    SetWorkdir,
    Step,
)
from imagekit.secret import Secret
from imagekit_buildkit.apt import apt_command, apt_mounts, apt_script, check_packages
from imagekit_buildkit.certificates import ca_arguments, ca_mount
from imagekit_buildkit.context import folder_name
from imagekit_buildkit.dockerfile_text import Lines
from imagekit_buildkit.environment import Environment
from imagekit_buildkit.install_order import Install, installs
from imagekit_buildkit.python_install import PythonStages
from imagekit_buildkit.quoting import mount, paths, run, word
from imagekit_buildkit.recipe import BASE, Recipe, SecretUse, TreeEntry
from imagekit_buildkit.source_files import OwnFolders, is_base_folder, placed

_ROOT = ("", "0", "root", "0:0", "root:root", "0:root", "root:0")
_SHELL = ["/bin/sh", "-c"]


def lower(
    plan: Plan, platform_plan: PlatformPlan, *, standalone: bool = False
) -> Recipe:
    """Return what BuildKit is given for one platform of *plan*.

    Reads and fetches nothing.

    Args:
        plan: the plan.
        platform_plan: the part of it for one platform.
        standalone: whether the Dockerfile should do without a context as far as it
            can, for people who have only its text: wheels come from where they are
            published, not from the context.

    Raises:
        UnsupportedLayerError: a step can't be expressed exactly.
        InvalidLayerError: a step means nothing.
    """
    first = platform_plan.steps[0] if platform_plan.steps else None
    if isinstance(first, BuildDockerfile):
        return _own_dockerfile(plan, platform_plan, first)
    return _Lowering(plan, platform_plan, standalone=standalone).recipe()


def _own_dockerfile(
    plan: Plan, platform_plan: PlatformPlan, step: BuildDockerfile
) -> Recipe:
    return Recipe(
        platform=platform_plan.platform,
        dockerfile=step.text,
        entries=(TreeEntry(path="", tree=step.context),),
        base=None,
        build_args=step.build_args,
        target=step.target,
        downloads=True,
        created=plan.created,
    )


class _Lowering:
    """One platform on its way to a recipe."""

    def __init__(
        self, plan: Plan, platform_plan: PlatformPlan, *, standalone: bool
    ) -> None:
        assert platform_plan.base is not None
        self._plan = plan
        self._steps = platform_plan.steps
        self._platform = platform_plan.platform
        self._base = platform_plan.base
        self._shell = _has_shell(self._base)
        self._image = Lines()
        self._environment = Environment(read_config(self._base.config).env)
        self._user = read_config(self._base.config).user
        self._was_root = self._is_root = self._user in _ROOT
        self._workdir: str | None = None
        self._folders = OwnFolders()
        self._sources: list[TreeEntry] = []
        self._secrets: dict[str, SecretUse] = {}
        self._downloads = False
        self._python = PythonStages(
            self._base,
            platform_plan.installer,
            created=plan.created,
            standalone=standalone,
            shell=self._shell,
        )

    def recipe(self) -> Recipe:
        """Lower all steps."""
        planned = installs(self._steps)
        for index, step in enumerate(self._steps):
            try:
                self._lower(step, planned.get(index))
            except ImageKitError as error:
                origin = str(step.origin) if step.origin else None
                raise error.at(origin) from error.__cause__
        self._environment.write(self._image)
        if self._is_root and not self._was_root:
            self._image.add(f"USER {word(self._user)}", "settings")
        lines = self._joined()
        return Recipe(
            platform=self._platform,
            dockerfile=lines.text,
            entries=(*self._python.entries, *self._sources),
            base=self._base,
            secrets=tuple(self._secrets.values()),
            instructions=lines.instructions,
            build_args=tuple(self._environment.build_args.items()),
            downloads=self._downloads,
            created=self._plan.created,
        )

    def _lower(self, step: Step, install: Install | None) -> None:
        match step:
            case CreateVenv():
                self._python.make_venv(step, self._image)
            case InstallDistributions():
                assert install is not None
                self._install(step, install)
            case CopyTree():
                self._copy(step)
            case SetEnv():
                self._environment.set(step.variables, step.origin)
            case SetWorkdir():
                self._chdir(step)
            case InstallAptPackages():
                self._install_packages(step)
            case RunCommands():
                self._run(step)
            case BuildDockerfile() | AddLayers():
                raise UnsupportedLayerError(
                    f"BuildKit can't be given {type(step).__name__} among other steps",
                    hint="build the Dockerfile as an image of its own, and use it as "
                    "the base",
                )
            case _:
                assert_never(step)

    def _install(self, step: InstallDistributions, install: Install) -> None:
        if install.replaced:
            self._be_root()
        self._python.install(step, install, self._image)

    def _install_packages(self, step: InstallAptPackages) -> None:
        check_packages(step)
        self._execute(
            apt_script(step, created=self._plan.created),
            apt_mounts(self._platform),
            step,
            title=f"apt packages {', '.join(step.packages)}",
            shown=apt_command(step),
        )

    def _run(self, step: RunCommands) -> None:
        for command in step.commands:
            self._execute(command, (), step, title=f"command {command!r}")

    def _copy(self, step: CopyTree) -> None:
        tree, destination = placed(step.tree, step.destination, self._base.links)
        folder = folder_name(f"source-{len(self._sources) + 1}", self._plan.created)
        self._sources.append(TreeEntry(path=folder, tree=tree))
        linked = destination in self._folders
        root = destination if destination == "/" else f"{destination}/"
        self._image.add(
            f"COPY {'--link ' if linked else ''}{paths(f'{folder}/', root)}",
            f"files in {step.destination}",
            origin=step.origin,
        )
        if linked:
            for entry in tree.entries:
                if entry.type == "directory":
                    self._folders.add(f"{root}{entry.path}")

    def _chdir(self, step: SetWorkdir) -> None:
        if step.path == self._workdir:
            return
        self._be_root()
        self._image.add(
            f"WORKDIR {word(step.path)}", f"folder {step.path}", origin=step.origin
        )
        self._workdir = step.path
        if not is_base_folder(step.path) and not _has_links(step.path, self._base):
            self._folders.add(step.path)

    def _execute(
        self,
        command: str,
        mounts: Sequence[str],
        step: InstallAptPackages | RunCommands,
        *,
        title: str,
        shown: str | None = None,
    ) -> None:
        """Add a command that may reach the network, and has the step's secrets."""
        self._be_root()
        self._environment.write(self._image)
        if not self._downloads:
            self._image.add(ca_arguments(), "certificate authorities of the host")
            self._downloads = True
        secrets = [self._secret(secret, step) for secret in step.secret_mounts]
        self._image.add(
            run(command, [*mounts, ca_mount(), *secrets], shell=self._shell),
            title,
            command=command if shown is None else shown,
            origin=step.origin,
        )

    def _secret(self, secret: Secret, step: InstallAptPackages | RunCommands) -> str:
        name = secret.stable_hash()[:16]
        use = SecretUse(id=name, secret=secret, origin=step.origin)
        self._secrets.setdefault(name, use)
        options = {"id": name, "required": "true"}
        if secret.mount is not None:
            options["target"] = str(secret.mount)
        if secret.as_env_var is not None:
            options["env"] = secret.as_env_var
        return mount("secret", **options)

    def _be_root(self) -> None:
        if not self._is_root:
            self._image.add("USER 0", "settings")
            self._is_root = True

    def _joined(self) -> Lines:
        """Return the whole Dockerfile."""
        lines = Lines()
        lines.comment(f"An image for {self._platform}, written by imagekit.")
        if isinstance(self._base.source, LayoutSource):
            place = f"oci-layout://FOLDER@{self._base.manifest}"
            lines.comment(f"It needs --build-context {BASE}={place}.")
        for use in self._secrets.values():
            lines.comment(f"It needs --secret id={use.id} ({use.secret.lookup_name}).")
        for name in self._environment.build_args:
            lines.comment(f"It needs --build-arg {name}=...")
        stages = self._python.lines()
        title = f"base {self._base.name}"
        match self._base.source:
            case RegistrySource(registry=registry, repository=repository):
                name = f"{registry}/{repository}@{self._base.manifest}"
                lines.gap()
                lines.add(f"FROM {name} AS {BASE}", title)
                begun = not stages.instructions
            case LayoutSource():
                begun = False
            case source:
                assert_never(source)
        if stages.instructions:
            lines.gap()
            lines.extend(stages)
        if not begun:
            lines.gap()
            lines.add(f"FROM {BASE}", title)
        lines.extend(self._image)
        return lines


def _has_shell(base: BaseImage) -> bool:
    """Return whether commands in *base* are given to ``/bin/sh -c``.

    Raises:
        UnsupportedLayerError: it has commands of its own for whoever builds on it.
    """
    runtime = read_json(base.config, "image config").get("config") or {}
    if runtime.get("OnBuild"):
        raise UnsupportedLayerError(
            f"the base {base.name!r} has ONBUILD commands, which BuildKit would run: "
            f"{runtime['OnBuild']!r}",
            hint="use a base without them",
        )
    return runtime.get("Shell") in (None, [], _SHELL)


def _has_links(path: str, base: BaseImage) -> bool:
    return any(f"{path}/".startswith(f"{link}/") for link, _ in base.links)
