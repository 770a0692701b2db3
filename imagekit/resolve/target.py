"""What distributions are resolved for: a platform, a Python and a C library."""

from __future__ import annotations

from imagekit.errors import BaseUnsuitableError
from imagekit.origin import Origin
from imagekit.plan import BaseImage, Interpreter, Libc
from imagekit.platform import Platform
from imagekit.records import dataclass

#: The minor versions of glibc that ``uv --python-platform`` knows as manylinux_2_N.
_UV_GLIBC = (17, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where the distributions will run; never this machine."""

    platform: Platform
    interpreter: Interpreter
    libc: Libc

    @property
    def identity(self) -> str:
        """A text that tells targets with different distributions apart."""
        major, minor = self.libc.version
        return (
            f"{self.platform} py{self.interpreter.full_version} "
            f"{self.libc.name}{major}.{minor}"
        )

    @property
    def minor(self) -> str:
        """The Python's minor version, such as ``3.11``."""
        return ".".join(map(str, self.interpreter.version))

    @property
    def uv_platform(self) -> str:
        """The value of ``uv --python-platform``, rounded down to one that uv knows.

        Raises:
            BaseUnsuitableError: the C library is older than any that wheels are
                made for today.
        """
        machine = self.platform.machine
        if self.libc.name == "musl":
            return f"{machine}-unknown-linux-musl"
        major, minor = self.libc.version
        known = [item for item in _UV_GLIBC if (2, item) <= (major, minor)]
        if not known:
            raise BaseUnsuitableError(
                f"the base has glibc {major}.{minor}, and wheels need 2.17 or later",
                hint="use a newer base image",
            )
        return f"{machine}-manylinux_2_{known[-1]}"


def target_of(base: BaseImage, *, origin: Origin | None = None) -> Target:
    """Return the target that *base* is; it has a Python.

    Raises:
        BaseUnsuitableError: nobody can tell which wheels fit.
    """
    assert base.interpreter is not None
    if base.libc is None:
        raise BaseUnsuitableError(
            f"can't tell which C library {base.name!r} has, so no wheels fit for sure",
            hint="use a base with glibc or musl",
            origin=str(origin) if origin else None,
        )
    return Target(platform=base.platform, interpreter=base.interpreter, libc=base.libc)
