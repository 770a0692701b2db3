"""Which wheel a target takes: tags by preference, as installers do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache

from imagekit.plan import Libc
from imagekit.records import dataclass
from imagekit.resolve.target import Target

#: Older names of manylinux platforms (PEP 600, "Legacy manylinux tags").
_LEGACY = {(2, 17): "manylinux2014", (2, 12): "manylinux2010", (2, 5): "manylinux1"}
_OLDEST_GLIBC = {"x86_64": 5, "aarch64": 17}
_BUILD = re.compile(r"(\d+)(.*)")
#: name-version-python-abi-platform, and a build tag in front of the last three.
_PARTS = (5, 6)


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelName:
    """The parts of a wheel's file name (binary distribution format)."""

    name: str
    version: str
    build: tuple[int, str]
    tags: frozenset[str]

    @classmethod
    def parse(cls, filename: str) -> WheelName | None:
        """Return the parts of *filename*, or None if it is not a wheel's."""
        if not filename.endswith(".whl"):
            return None
        parts = filename.removesuffix(".whl").split("-")
        if len(parts) not in _PARTS:
            return None
        build = _BUILD.fullmatch(parts[2]) if len(parts) == max(_PARTS) else None
        return cls(
            name=re.sub(r"[-_.]+", "-", parts[0]).lower(),
            version=parts[1].replace("_", "-"),
            build=(int(build[1]), build[2]) if build else (-1, ""),
            tags=frozenset(
                f"{python}-{abi}-{platform}"
                for python in parts[-3].split(".")
                for abi in parts[-2].split(".")
                for platform in parts[-1].split(".")
            ),
        )


def best_wheel(filenames: Iterable[str], target: Target) -> str | None:
    """Return the wheel that installers take for *target*, or None if none fits."""
    ranks = tag_ranks(target)
    best: tuple[int, tuple[int, str], str] | None = None
    chosen = None
    for filename in filenames:
        name = WheelName.parse(filename)
        if name is None:
            continue
        fitting = [ranks[tag] for tag in name.tags if tag in ranks]
        if not fitting:
            continue
        # The name last, so that the order of an index plays no part.
        rank = (-min(fitting), name.build, filename)
        if best is None or rank > best:
            best, chosen = rank, filename
    return chosen


def fits(filename: str, target: Target) -> bool:
    """Return whether *target* can use the wheel *filename*."""
    return best_wheel((filename,), target) is not None


@lru_cache(maxsize=16)
def tag_ranks(target: Target) -> dict[str, int]:
    """Return the tags that *target* accepts, the best one with rank 0."""
    from packaging.tags import (  # noqa: PLC0415  (slow, and not needed for a hit)
        compatible_tags,
        cpython_tags,
    )

    version = target.interpreter.version
    nodot = f"{version[0]}{version[1]}"
    platforms = list(_platforms(target.platform.machine, target.libc))
    tags = [
        *cpython_tags(version, abis=[f"cp{nodot}"], platforms=platforms),
        *compatible_tags(version, interpreter=f"cp{nodot}", platforms=platforms),
    ]
    ranks: dict[str, int] = {}
    for tag in tags:
        ranks.setdefault(str(tag), len(ranks))
    return ranks


def _platforms(machine: str, libc: Libc) -> Iterator[str]:
    """Give platform tags: the machine's own first, then the newest libc first."""
    yield f"linux_{machine}"
    major, newest = libc.version
    if libc.name == "musl":
        for minor in range(newest, -1, -1):
            yield f"musllinux_{major}_{minor}_{machine}"
    else:
        for minor in range(newest, _OLDEST_GLIBC[machine] - 1, -1):
            yield f"manylinux_{major}_{minor}_{machine}"
            if (major, minor) in _LEGACY:
                yield f"{_LEGACY[major, minor]}_{machine}"
