"""A builder that executes with chroot and overlayfs alone: a third kind, for tests.

It shares nothing with BuildKit, so laws of executing builders can be tried on it in
seconds. It needs root, and a base for this machine.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import stat
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from imagekit.builder import Builder, BuilderContext, Built, ExecutedStep
from imagekit.errors import BuildFailedError, UnsupportedLayerError
from imagekit.oci import model
from imagekit.oci.config import image_config, read_config
from imagekit.oci.decompress import decompressed
from imagekit.plan import (
    BaseImage,
    BuildDockerfile,
    InstallAptPackages,
    LayerDescriptor,
    LayoutSource,
    Plan,
    PlatformPlan,
    RunCommands,
    Step,
)
from imagekit.secret import Secret
from imagekit.secret_values import secret_value
from imagekit_oci import OCIBuilder

_CREATED = "2023-11-14T22:13:20Z"


class ChrootBuilder:
    """Executes commands, and has the embedded builder do everything else.

    Args:
        cache: folder for unpacked layers, which may be shared.
    """

    def __init__(self, context: BuilderContext, cache: Path) -> None:
        self._context = context
        self._cache = cache
        self._steps: list[ExecutedStep] = []
        self._log = ""

    @property
    def name(self) -> str:
        return "chroot"

    def check(self, plan: Plan) -> None:
        for step in (step for part in plan.platforms for step in part.steps):
            if isinstance(step, InstallAptPackages | BuildDockerfile):
                what = getattr(step, "packages", None) or getattr(step, "file", None)
                raise UnsupportedLayerError(
                    f"the chroot builder can't make {what!r}", origin=str(step.origin)
                )

    def build(self, plan: Plan) -> Built:
        self.check(plan)
        for step in (step for part in plan.platforms for step in part.steps):
            for secret in step.secret_mounts if isinstance(step, RunCommands) else ():
                secret_value(secret, origin=str(step.origin))
        parts = []
        for part in plan.platforms:
            base = part.base
            assert base is not None
            if any(isinstance(step, RunCommands) for step in part.steps):
                for steps in _runs(part.steps):
                    base = self._extended(plan, base, steps)
                parts.append(replace(part, base=base, steps=()))
            else:
                parts.append(part)
        built = OCIBuilder(self._context).build(replace(plan, platforms=tuple(parts)))
        return replace(built, steps=tuple(self._steps), log=self._log)

    def _extended(
        self, plan: Plan, base: BaseImage, steps: tuple[Step, ...]
    ) -> BaseImage:
        """Return *base* with *steps* on top."""
        store = self._context.store
        if not isinstance(steps[0], RunCommands):
            part = PlatformPlan(platform=base.platform, base=base, steps=steps)
            built = OCIBuilder(self._context).build(replace(plan, platforms=(part,)))
            image = built.images[0]
            layers = tuple(layer.descriptor for layer in image.layers)
            return replace(base, config=store.read_blob(image.config), layers=layers)
        layer = self._executed(base, steps[0], plan.created)
        config = image_config(
            base.config,
            diff_ids=[layer.diff_id],
            history=[{"created_by": "commands"}],
            created=_CREATED,
        )
        return replace(base, config=config, layers=(*base.layers, layer))

    def _executed(
        self, base: BaseImage, step: RunCommands, created: int
    ) -> LayerDescriptor:
        started = time.monotonic()
        with self._mounted(base) as (root, upper):
            with _secret_files(root, step.secret_mounts):
                for command in step.commands:
                    self._run(command, base, step, root)
            tar = _tar(upper, created)
        self._steps.append(
            ExecutedStep(
                platform=base.platform,
                title=step.commands[0],
                seconds=time.monotonic() - started,
                cached=False,
            )
        )
        blob = gzip.compress(tar, 1, mtime=0)
        return LayerDescriptor(
            media_type=model.LAYER_GZIP,
            digest=self._context.store.add_blob(blob),
            size=len(blob),
            diff_id=model.Descriptor.of(tar, model.LAYER).digest,
        )

    def _run(
        self, command: str, base: BaseImage, step: RunCommands, root: Path
    ) -> None:
        config = read_config(base.config)
        environment = dict(config.env)
        for secret in step.secret_mounts:
            if secret.as_env_var and not secret.mount:
                environment[secret.as_env_var] = secret_value(secret)
        # Dash gives PWD to what it starts; nothing else is changed.
        program = 'cd "$0" && exec /bin/sh -c "$1"'
        folder = config.workdir or "/"
        done = subprocess.run(
            [
                str(shutil.which("chroot")),
                *(str(root), "/bin/sh", "-c", program, folder, command),
            ],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        output = done.stdout.decode(errors="replace")
        self._log += output
        if done.returncode:
            raise BuildFailedError(
                f"the command {command!r} failed with exit code {done.returncode}",
                argv=("/bin/sh", "-c", command),
                exit_code=done.returncode,
                log_tail=output,
                origin=str(step.origin),
            )

    @contextmanager
    def _mounted(self, base: BaseImage) -> Iterator[tuple[Path, Path]]:
        lower = ":".join(str(self._unpacked(base, one)) for one in base.layers[::-1])
        with tempfile.TemporaryDirectory(dir=self._cache) as name:
            upper, work, root = (Path(name) / part for part in ("u", "w", "m"))
            for folder in (upper, work, root):
                folder.mkdir()
            options = f"lowerdir={lower},upperdir={upper},workdir={work}"
            subprocess.run(
                ["mount", "-t", "overlay", "overlay", "-o", options, str(root)],
                check=True,
            )
            try:
                yield root, upper
            finally:
                subprocess.run(["umount", str(root)], check=True)

    def _unpacked(self, base: BaseImage, layer: LayerDescriptor) -> Path:
        folder = self._cache / layer.digest.hex[:12]
        if folder.exists():
            return folder
        path = self._context.store.blob_path(layer.digest)
        if not path.exists():
            assert isinstance(base.source, LayoutSource)
            path = Path(base.source.path) / "blobs/sha256" / layer.digest.hex
        chunks = decompressed([path.read_bytes()], layer.media_type)
        draft = Path(tempfile.mkdtemp(dir=self._cache))
        draft.chmod(0o755)
        _unpack(b"".join(chunks), draft)
        draft.rename(folder)
        return folder


def _runs(steps: tuple[Step, ...]) -> list[tuple[Step, ...]]:
    """Return the steps, those that execute each on their own."""
    found: list[tuple[Step, ...]] = []
    for step in steps:
        alone = isinstance(step, RunCommands)
        if alone or not found or isinstance(found[-1][0], RunCommands):
            found.append((step,))
        else:
            found[-1] = (*found[-1], step)
    return found


def _unpack(data: bytes, folder: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        whiteouts = [m for m in archive if Path(m.name).name.startswith(".wh.")]
        archive.extractall(
            folder,
            [member for member in archive if member not in whiteouts],
            numeric_owner=True,
            filter="fully_trusted",
        )
    for member in whiteouts:
        path = folder / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden = path.with_name(path.name.removeprefix(".wh."))
        os.mknod(hidden, stat.S_IFCHR, os.makedev(0, 0))


def _tar(upper: Path, created: int) -> bytes:
    """Return what overlayfs wrote to *upper* as a layer."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(upper.rglob("*"), key=os.fsencode):
            name = str(path.relative_to(upper))
            status = path.lstat()
            if stat.S_ISCHR(status.st_mode):
                folder, _, last = name.rpartition("/")
                archive.addfile(_whiteout(f"{folder}/.wh.{last}", created))
                continue
            info = archive.gettarinfo(path, name)
            info.mtime, info.uname, info.gname = created, "", ""
            if info.isfile():
                archive.addfile(info, io.BytesIO(path.read_bytes()))
            else:
                archive.addfile(info)
            if info.isdir() and "trusted.overlay.opaque" in os.listxattr(path):
                archive.addfile(_whiteout(f"{name}/.wh..wh..opq", created))
    return buffer.getvalue()


def _whiteout(name: str, created: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name.lstrip("/"))
    info.mtime = created
    return info


@contextmanager
def _secret_files(root: Path, secrets: tuple[Secret, ...]) -> Iterator[None]:
    made: list[Path] = []
    for secret in secrets:
        if secret.mount is not None:
            path = root / str(secret.mount).lstrip("/")
            missing = [folder for folder in path.parents if not folder.exists()]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(secret_value(secret), encoding="utf-8")
            made += [path, *missing]
    try:
        yield
    finally:
        for path in made:
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink()


def _conforms(context: BuilderContext) -> Builder:
    return ChrootBuilder(context, Path())
