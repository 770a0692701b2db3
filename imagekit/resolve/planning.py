"""From contents to a plan: pins the base and the distributions for each platform."""

from __future__ import annotations

import json
import posixpath
from typing import assert_never

from imagekit.builder import WheelSource
from imagekit.contents import Contents, LayerContents
from imagekit.errors import InvalidLayerError
from imagekit.image import Image
from imagekit.layers import (
    AptPackages,
    CodeBundle,
    Commands,
    DebianBase,
    DockerfileBase,
    DockerIgnore,
    Env,
    ImageBase,
    InstallOptions,
    LayoutBase,
    PipPackages,
    PythonLayer,
    Requirements,
    Runtime,
    SourceFile,
    SourceFolder,
    SourceLayer,
    UVProject,
    UVScript,
    WorkDir,
)
from imagekit.oci.registry import Registries
from imagekit.plan import (
    VENV,
    BaseImage,
    BuildDockerfile,
    CopyTree,
    CreateVenv,
    Distribution,
    InstallAptPackages,
    InstallDistributions,
    Interpreter,
    Plan,
    PlatformPlan,
    RunCommands,
    SetEnv,
    SetWorkdir,
    Step,
)
from imagekit.platform import Platform
from imagekit.progress import Progress, TaskEnded, TaskStarted
from imagekit.records import dataclass
from imagekit.resolve.base import resolve_bases
from imagekit.resolve.python import Resolved, resolve
from imagekit.resolve.runtime_wheel import runtime_wheel
from imagekit.resolve.sizes import with_sizes
from imagekit.resolve.target import target_of
from imagekit.store import Store

_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#: Working directory of images on the default base, as the Flyte SDK has it.
HOME = "/root"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What planning may reach.

    Attributes:
        upgrade: True to resolve everything anew, or names of what to bring up to date.
        installer: whether the plan says which uv installs inside the image.
        secrets_dir: folder with secrets, as the settings name it.
    """

    store: Store
    registries: Registries
    wheels: WheelSource
    progress: Progress
    upgrade: bool | tuple[str, ...] = False
    installer: bool = False
    secrets_dir: str | None = None


def make_plan(image: Image, contents: Contents, world: World) -> Plan:
    """Pin everything that *image* needs and say step by step how it is made.

    Raises:
        PlanError: something that it needs can't be found or does not fit together.
        RegistryError: the base's registry failed.
    """
    platforms = tuple(map(Platform.parse, contents.platform))
    if isinstance(image.base, DockerfileBase):
        step = _dockerfile_step(image.base, contents)
        plans = [PlatformPlan(platform=p, base=None, steps=(step,)) for p in platforms]
    else:
        bases = _pin_bases(image, contents, platforms, world)
        plans = [_plan_platform(image, contents, base, world) for base in bases]
    return Plan(
        identifier=image.identifier,
        content_id=contents.content_id,
        platforms=tuple(plans),
        created=contents.created,
    )


def _dockerfile_step(base: DockerfileBase, contents: Contents) -> BuildDockerfile:
    assert contents.context is not None
    assert contents.dockerfile is not None
    return BuildDockerfile(
        file=posixpath.basename(base.file.location),
        text=contents.dockerfile,
        context=contents.context,
        build_args=base.build_args,
        target=base.target,
        origin=base.origin,
    )


def _plan_platform(
    image: Image, contents: Contents, base: BaseImage, world: World
) -> PlatformPlan:
    steps = _Steps(base=base, debian=isinstance(image.base, DebianBase))
    installs = _installs(image, contents, base, world)
    for item in contents.layers:
        steps.add(item, installs.get(id(item)))
    return PlatformPlan(
        platform=base.platform,
        base=base,
        steps=tuple(steps.steps),
        installer=_installer(image, base, world) if installs else None,
    )


def _pin_bases(
    image: Image, contents: Contents, platforms: tuple[Platform, ...], world: World
) -> tuple[BaseImage, ...]:
    base: ImageBase | LayoutBase
    match image.base:
        case DebianBase():
            assert contents.base is not None
            base = ImageBase(reference=contents.base, origin=image.base.origin)
        case ImageBase() | LayoutBase():
            base = image.base
        case DockerfileBase():
            raise AssertionError("a Dockerfile has no base to pin")
        case _:
            assert_never(image.base)
    world.progress(TaskStarted("base", f"base {contents.base}", "resolve"))
    found = resolve_bases(
        base,
        platforms,
        registries=world.registries,
        store=world.store,
        need_python=_needs_python(image),
        python=contents.python,
        # Without files of ours there is nothing that a link could lead astray. The code
        # of tasks goes below /opt, which is no link, so that it can be put on top of
        # images whose layers nobody has fetched.
        need_links=not all(isinstance(i, Env | CodeBundle) for i in image.layers),
        origin=str(base.origin) if base.origin else None,
    )
    world.progress(TaskEnded("base", detail=str(found[0].manifest)[:19]))
    return found


def _needs_python(image: Image) -> bool:
    return isinstance(image.base, DebianBase) or any(
        isinstance(layer, PythonLayer | Runtime) for layer in image.layers
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Install:
    interpreter: Interpreter
    distributions: tuple[Distribution, ...]
    removed: tuple[str, ...] = ()


def _installs(
    image: Image, contents: Contents, base: BaseImage, world: World
) -> dict[int, _Install]:
    """Return what each Python layer installs, by the identity of its contents."""
    interpreter = base.interpreter
    if interpreter is None:
        return {}
    found: dict[int, _Install] = {}
    resolvable: list[tuple[LayerContents, PythonLayer]] = []
    for item in contents.layers:
        layer = item.layer
        if isinstance(layer, Runtime) and layer.version is None:
            assert item.tree is not None
            wheel = runtime_wheel(item.tree, world.store)
            found[id(item)] = _Install(interpreter=interpreter, distributions=(wheel,))
        elif isinstance(layer, Runtime):
            named = PipPackages(
                packages=(f"imagekit=={layer.version}",),
                options=InstallOptions(),
                origin=layer.origin,
            )
            resolvable.append((item, named))
        elif isinstance(layer, PythonLayer):
            resolvable.append((item, layer))
    if resolvable:
        for (item, _), result in zip(
            resolvable,
            _resolve(image, base, tuple(layer for _, layer in resolvable), world),
            strict=True,
        ):
            found[id(item)] = _Install(
                interpreter=interpreter,
                distributions=with_sizes(
                    result.distributions, world.wheels, world.store
                ),
                removed=result.removed,
            )
    return found


def _installer(image: Image, base: BaseImage, world: World) -> Distribution | None:
    if not world.installer:
        return None
    from imagekit.resolve.installer import installer  # noqa: PLC0415  (only if asked)

    layers = (layer for layer in image.layers if isinstance(layer, PythonLayer))
    first = next(layers, None)
    return installer(
        base,
        folder=first.origin.folder if first else "",
        store=world.store,
        wheels=world.wheels,
        progress=world.progress,
    )


def _resolve(
    image: Image, base: BaseImage, layers: tuple[PythonLayer, ...], world: World
) -> tuple[Resolved, ...]:
    target = target_of(base, origin=layers[0].origin)
    task = f"resolve:{base.platform}"
    world.progress(TaskStarted(task, f"Python packages for {base.platform}", "resolve"))
    result = resolve(
        layers,
        target,
        lineage=f"{image.registry or ''}/{image.name}:{base.platform}:{target.minor}",
        store=world.store,
        upgrade=world.upgrade,
        secrets_dir=world.secrets_dir,
        progress=world.progress,
    )
    count = sum(len(item.distributions) for item in result)
    world.progress(TaskEnded(task, detail=f"{count} distributions"))
    return result


class _Steps:
    """Collects the steps of one platform, keeping track of the working directory."""

    def __init__(self, *, base: BaseImage, debian: bool) -> None:
        self.steps: list[Step] = []
        self._base = base
        config = json.loads(base.config).get("config") or {}
        self._workdir: str = config.get("WorkingDir") or "/"
        self._environment = dict(
            item.partition("=")[::2] for item in config.get("Env") or ()
        )
        self._has_venv = False
        if debian:
            self._make_venv(extra=(("PYTHONPATH", HOME), ("UV_LINK_MODE", "copy")))
            self._chdir(HOME, None)

    def add(self, item: LayerContents, install: _Install | None) -> None:
        layer = item.layer
        match layer:
            case Runtime() | PipPackages() | Requirements() | UVProject() | UVScript():
                assert install is not None
                self._install(layer, install)
            case SourceFile() | SourceFolder() | CodeBundle():
                self._copy(layer, item)
            case Env():
                self._environment.update(layer.variables)
                self.steps.append(
                    SetEnv(variables=layer.variables, origin=layer.origin)
                )
            case WorkDir():
                self._chdir(layer.path, layer)
            case AptPackages():
                self.steps.append(
                    InstallAptPackages(
                        packages=layer.packages,
                        secret_mounts=layer.secret_mounts,
                        origin=layer.origin,
                    )
                )
            case Commands():
                self.steps.append(
                    RunCommands(
                        commands=layer.commands,
                        secret_mounts=layer.secret_mounts,
                        origin=layer.origin,
                    )
                )
            case DockerIgnore():
                pass  # it has done its work when the trees were read
            case _:
                assert_never(layer)

    def _install(self, layer: PythonLayer | Runtime, install: _Install) -> None:
        if not self._has_venv:
            self._make_venv()
        secrets = () if isinstance(layer, Runtime) else layer.options.secret_mounts
        self.steps.append(
            InstallDistributions(
                interpreter=install.interpreter,
                distributions=install.distributions,
                removed=install.removed,
                secret_mounts=secrets,
                origin=layer.origin,
            )
        )

    def _copy(self, layer: SourceLayer, item: LayerContents) -> None:
        assert item.tree is not None
        folder = layer.dst
        if isinstance(layer, SourceFile) and not (
            folder.endswith("/") or posixpath.basename(folder) in ("", ".", "..")
        ):
            folder = posixpath.dirname(folder) or "."
        self.steps.append(
            CopyTree(
                tree=item.tree,
                destination=self._absolute(folder, layer),
                label=layer.label if isinstance(layer, CodeBundle) else layer.src.name,
                origin=layer.origin,
            )
        )

    def _make_venv(self, extra: tuple[tuple[str, str], ...] = ()) -> None:
        assert self._base.interpreter is not None
        path = self._environment.get("PATH") or _DEFAULT_PATH
        variables = {
            "PATH": f"{VENV}/bin:{path}",
            "UV_PYTHON": f"{VENV}/bin/python",
            "VIRTUAL_ENV": VENV,
            **dict(extra),
        }
        self._environment.update(variables)
        self.steps.append(CreateVenv(interpreter=self._base.interpreter))
        self.steps.append(SetEnv(variables=tuple(sorted(variables.items()))))
        self._has_venv = True

    def _chdir(self, path: str, layer: WorkDir | None) -> None:
        self._workdir = self._absolute(path, layer)
        origin = layer.origin if layer else None
        self.steps.append(SetWorkdir(path=self._workdir, origin=origin))

    def _absolute(self, path: str, layer: SourceLayer | WorkDir | None) -> str:
        joined = posixpath.join(self._workdir, path)
        parts: list[str] = []
        for part in joined.split("/"):
            if part == "..":
                if not parts:
                    raise InvalidLayerError(
                        f"{path!r} leaves the image's root",
                        hint=f"it is relative to {self._workdir!r}",
                        origin=str(layer.origin) if layer else None,
                    )
                parts.pop()
            elif part not in ("", "."):
                parts.append(part)
        return "/" + "/".join(parts)
