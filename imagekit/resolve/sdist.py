"""Wheels from what is no wheel: source distributions, local projects, commits.

A build runs on this machine, so its result is used only where it fits the target: a
wheel for every platform always does, another one where machine, Python and C library
agree. Results are kept in the store by what they were made from.
"""

from __future__ import annotations

import os
import platform as host_platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_never

from imagekit.canonical import fingerprint
from imagekit.digest import Digest
from imagekit.errors import InvalidPlatformError, NoWheelError
from imagekit.platform import Platform
from imagekit.progress import Progress, TaskEnded, TaskStarted
from imagekit.records import dataclass
from imagekit.resolve.build_source import (
    copied_project,
    needs_compiler,
    set_times,
    unpacked_archive,
)
from imagekit.resolve.credentials import Credentials
from imagekit.resolve.download import Wheels
from imagekit.resolve.git_checkout import check_out
from imagekit.resolve.partial_file import RemoteFile
from imagekit.resolve.pins import (
    Pin,
    Source,
    SourceArchive,
    SourceFolder,
    SourceGit,
)
from imagekit.resolve.target import Target
from imagekit.resolve.uv import Uv, UvError
from imagekit.resolve.wheel_choice import WheelName, fits
from imagekit.store import Store

#: 2 January 1980, for build backends that put times into wheels.
_EPOCH = "315619200"
_TAIL = 1500


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltWheel:
    """A wheel that is in the store."""

    filename: str
    version: str
    sha256: str
    size: int


class WheelBuilder:
    """Builds wheels for one target.

    Args:
        environ: the environment for uv, with its indexes and secrets.
        settings: options of build backends (``--config-setting``).
    """

    def __init__(
        self,
        *,
        target: Target,
        store: Store,
        uv: Uv,
        wheels: Wheels,
        credentials: Credentials,
        environ: Mapping[str, str],
        settings: tuple[str, ...] = (),
        progress: Progress,
    ) -> None:
        self._target = target
        self._store = store
        self._uv = uv
        self._wheels = wheels
        self._credentials = credentials
        self._environ = environ
        self._settings = settings
        self._progress = progress

    def wheel(self, pin: Pin) -> BuiltWheel:
        """Return the wheel of *pin*, built if the store does not have it.

        Raises:
            NoWheelError: it can't be built, or not for the target.
            DownloadError: its source could not be fetched.
        """
        assert pin.source is not None
        source = _source_identity(pin.source)
        keys = [
            fingerprint("built-wheel", (source, self._settings, place))
            for place in (self._target.identity, "any")
        ]
        for key in keys:
            known = self._known(key)
            if known is not None:
                return known
        task = f"build:{pin.name}"
        title = f"{pin.name} {pin.version or ''}".rstrip()
        self._progress(TaskStarted(task, f"wheel of {title}", "build"))
        try:
            built = self._build(pin, title)
        except BaseException:
            self._progress(TaskEnded(task, "failed"))
            raise
        pure = built.filename.endswith("-none-any.whl")
        self._store.write_record("built-wheels", keys[pure], _record(built))
        self._progress(TaskEnded(task, detail=built.filename))
        return built

    def _known(self, key: str) -> BuiltWheel | None:
        record = self._store.read_record("built-wheels", key)
        if record is None:
            return None
        known = BuiltWheel(**record)
        is_there = self._store.wheel_path(known.sha256, known.filename).exists()
        if not is_there or not _usable(known.filename, self._target):
            return None
        return known

    def _build(self, pin: Pin, title: str) -> BuiltWheel:
        obstacle = self._obstacle()
        python = self._uv.find_python(self._target.minor)
        import tempfile  # noqa: PLC0415  (slow to import)

        with tempfile.TemporaryDirectory(
            dir=self._store.temporary(), prefix="build-"
        ) as name:
            folder = Path(name)
            source = self._source(pin, folder)
            if obstacle and needs_compiler(source):
                raise self._refusal(pin, title, obstacle)
            set_times(source, int(_EPOCH))
            argv = ["build", "--wheel", "--no-progress", "--no-sources"]
            argv += ["--out-dir", str(folder / "out"), *self._settings]
            argv += ["--python", python] if python else []
            environ = {**self._environ, "SOURCE_DATE_EPOCH": _EPOCH}
            try:
                self._uv.run(
                    [*argv, str(source)],
                    environ=environ,
                    folder=name,
                    hide=self._credentials.hide,
                )
            except UvError as error:
                reason = obstacle or f"the build failed: {error.text[-_TAIL:]}"
                raise self._refusal(pin, title, reason) from error
            (wheel,) = (folder / "out").glob("*.whl")
            if not fits(wheel.name, self._target):
                reason = obstacle or f"the build gave {wheel.name!r}"
                raise self._refusal(pin, title, reason)
            return self._kept(pin, title, wheel)

    def _kept(self, pin: Pin, title: str, wheel: Path) -> BuiltWheel:
        from imagekit.resolve.normal_wheel import (  # noqa: PLC0415  (zipfile)
            newest_glibc,
            normalize_wheel,
        )

        linked = newest_glibc(wheel)
        if linked is not None and linked > self._target.libc.version:
            have = ".".join(map(str, self._target.libc.version))
            need = ".".join(map(str, linked))
            raise self._refusal(
                pin, title, f"built here it needs glibc {need}, the base has {have}"
            )
        normal = wheel.with_suffix(".normal")
        normalize_wheel(wheel, normal)
        with normal.open("rb") as file:
            digest = Digest.of_chunks(iter(lambda: file.read(1 << 20), b"")).hex
        size = normal.stat().st_size
        self._store.add_wheel(normal, digest, wheel.name)
        name = WheelName.parse(wheel.name)
        assert name is not None
        return BuiltWheel(
            filename=wheel.name, version=name.version, sha256=digest, size=size
        )

    def _source(self, pin: Pin, folder: Path) -> Path:
        """Return a copy of the source that a build may write to."""
        source = pin.source
        match source:
            case SourceArchive():
                path = self._wheels.fetch(
                    RemoteFile(
                        filename=source.file.filename,
                        url=source.file.url,
                        sha256=source.file.sha256,
                        size=source.file.size,
                        title=f"source of {pin.name} {pin.version or ''}".rstrip(),
                    )
                )
                return unpacked_archive(path, folder / "src", source.subdirectory)
            case SourceFolder():
                return copied_project(source, folder / "src")
            case SourceGit():
                return check_out(source, folder / "src", self._credentials)
            case None:
                raise AssertionError("a pin without a wheel has a source")
            case _:
                assert_never(source)

    def _obstacle(self) -> str | None:
        """Return why wheels that are built here are not for the target, or None."""
        target = self._target
        try:
            host = Platform.host()
        except InvalidPlatformError:
            host = None
        if host != target.platform:
            return f"it would have to be built on {target.platform}, and this is {host}"
        libc = host_platform.libc_ver()[0] or "musl"
        if libc != target.libc.name:
            return (
                f"it would have to be built with {target.libc.name}, and this machine "
                f"has {libc}"
            )
        if self._uv.find_python(target.minor) is None:
            return (
                f"it would have to be built with Python {target.minor}, and this "
                "machine has none"
            )
        return None

    def _refusal(self, pin: Pin, title: str, reason: str) -> NoWheelError:
        what = pin.no_wheel or "it is a project, not a wheel"
        return NoWheelError(
            f"no wheel of {title} for {self._target.identity}: {what}, and {reason}",
            hint=f"ask for a version of {pin.name!r} that has a wheel (extra_args="
            f"'--only-binary {pin.name}' looks for one), or build on the platform of "
            "the image",
        )


def _usable(filename: str, target: Target) -> bool:
    # Wheels for every platform are told without the tags of the target, which are slow.
    if filename.endswith(("-py3-none-any.whl", "-py2.py3-none-any.whl")):
        return True
    return fits(filename, target)


def _record(built: BuiltWheel) -> dict[str, Any]:
    return {
        "filename": built.filename,
        "version": built.version,
        "sha256": built.sha256,
        "size": built.size,
    }


def _source_identity(source: Source) -> tuple[str | None, ...]:
    match source:
        case SourceArchive():
            return ("archive", source.file.sha256, source.subdirectory)
        case SourceFolder():
            versions = (
                f"{name}={value}"
                for name, value in sorted(os.environ.items())
                if name.startswith("SETUPTOOLS_SCM_PRETEND_VERSION")
            )
            return ("folder", source.digest, *versions)
        case SourceGit():
            return ("git", source.url, source.commit, source.subdirectory)
        case _:
            assert_never(source)
