"""What installing a wheel means: which files there are in the end, and where.

This follows the wheel specification and, where that leaves a choice, uv. Differences
from ``uv pip install``, all on purpose:

* ``INSTALLER`` says ``imagekit``; there is no ``uv_cache.json`` (it has times in it);
* ``REQUESTED`` is there only for what the user asked for;
* ``RECORD`` lists exactly the files that are installed, each with hash and size;
* what a wheel would put into ``lib64`` goes into ``lib``, which that links to;
* a wheel that would replace parts of the environment itself is refused.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import NamedTuple, NoReturn, TypeAlias

from imagekit.base_paths import folders_of
from imagekit.errors import BuildFailedError
from imagekit.plan import Distribution, Interpreter
from imagekit_oci import record, scripts
from imagekit_oci.record import RecordLine
from imagekit_oci.wheel import Member, Wheel

_INSTALLER = b"imagekit"
#: Files of ``.dist-info`` that an installer writes; a wheel's own don't count.
_OWN = ("INSTALLER", "REQUESTED", "direct_url.json", "RECORD")
_HINT = "pin another version of the distribution, or leave it out"


class Rewritten(NamedTuple):
    """A script whose first bytes are replaced."""

    start: bytes
    member: Member
    skip: int


Content: TypeAlias = bytes | Member | Rewritten


class InstalledFile(NamedTuple):
    """A file of an installed distribution.

    Attributes:
        path: relative to the environment's folder, with ``/``.
        line: its line in ``RECORD``.
    """

    path: str
    executable: bool
    size: int
    content: Content
    line: RecordLine


class Installation:
    """The files of *wheel*, installed into an environment.

    Args:
        wheel: the open wheel.
        distribution: what it is installed as.
        interpreter: the Python that the environment is made on.
        prefix: absolute path of the environment.

    Raises:
        BuildFailedError: the wheel can't be installed safely.
    """

    def __init__(
        self,
        wheel: Wheel,
        distribution: Distribution,
        *,
        interpreter: Interpreter,
        prefix: str,
    ) -> None:
        self._wheel = wheel
        self._distribution = distribution
        self._minor = interpreter.version[1]
        self._library = f"lib/python{interpreter.version[0]}.{self._minor}"
        self._site = f"{self._library}/site-packages"
        self._python = f"{prefix}/bin/python"
        self._reserved = frozenset(venv_paths(interpreter))

    @cached_property
    def files(self) -> tuple[InstalledFile, ...]:
        """All files, ``RECORD`` the last."""
        files: dict[str, InstalledFile] = {}
        for file in (*self._members(), *self._launchers(), *self._metadata()):
            if file.path in files:
                self._refuse(f"two files would be installed as {file.path!r}")
            if file.path in self._reserved:
                self._refuse(f"{file.path!r} would replace a part of the environment")
            files[file.path] = file
        self._check_folders(files)
        own = f"{self._wheel.dist_info}/RECORD"
        lines = [file.line for file in files.values()]
        text = record.record_text((*lines, RecordLine(own, "", "")))
        return (*files.values(), self._generated(own, text))

    def chunks(self, content: Content) -> Iterator[bytes]:
        """Yield the bytes of a file, in bounded pieces."""
        match content:
            case bytes():
                yield content
            case Member():
                yield from self._wheel.content(content)
            case Rewritten():
                yield content.start
                skip = content.skip
                for piece in self._wheel.content(content.member):
                    yield piece[skip:]
                    skip = max(0, skip - len(piece))

    def _members(self) -> Iterator[InstalledFile]:
        data = self._wheel.dist_info.removesuffix(".dist-info") + ".data/"
        own = {f"{self._wheel.dist_info}/{name}" for name in _OWN}
        site = f"{self._site}/"
        for name, member in self._wheel.members.items():
            if name.startswith(data):
                yield from self._data(member, name[len(data) :])
            elif name not in own:
                yield InstalledFile(
                    site + name,
                    member.executable,
                    member.size,
                    member,
                    self._known(member),
                )

    def _data(self, member: Member, name: str) -> Iterator[InstalledFile]:
        """Yield the file of the member *name* of the ``.data`` folder, if any."""
        scheme, _, rest = name.partition("/")
        if not rest:
            self._refuse(f"member {member.name!r} is in no folder of its .data folder")
        if scheme == "scripts":
            yield from self._script(member, rest)
            return
        roots = {
            "purelib": self._site,
            "platlib": self._site,
            "headers": f"include/site/{self._library[4:]}/{self._distribution.name}",
            "data": "",
        }
        if scheme not in roots:
            self._refuse(
                f"member {member.name!r} is for {scheme!r}; known are scripts, "
                + ", ".join(sorted(roots))
            )
        yield self._moved(member, posixpath.join(roots[scheme], rest))

    def _script(self, member: Member, name: str) -> Iterator[InstalledFile]:
        if "/" in name:
            self._refuse(f"member {member.name!r} is a script in a folder")
        # As in pip and uv: what is made from an entry point takes precedence.
        stem = name
        for suffix in (".exe", "-script.py", ".pya"):
            stem = stem.removesuffix(suffix)
        if any(script.name == stem for script in self._scripts):
            return
        path = f"bin/{name}"
        if not self._begins_with_placeholder(member):
            yield self._moved(member, path)._replace(executable=True)
            return
        content = self._rewritten(member)
        line = self._line(self._relative(path), content)
        yield InstalledFile(path, True, int(line.size), content, line)

    def _begins_with_placeholder(self, member: Member) -> bool:
        if not member.size:
            return False
        return next(self._wheel.content(member)).startswith(scripts.PLACEHOLDER)

    def _rewritten(self, member: Member) -> Rewritten:
        start = next(self._wheel.content(member))
        # "#!pythonw" is for programs with windows, on Windows.
        skip = len(scripts.PLACEHOLDER)
        skip += start[skip : skip + 1] == b"w"
        return Rewritten(scripts.shebang(self._python).encode(), member, skip)

    def _moved(self, member: Member, path: str) -> InstalledFile:
        if path.startswith("lib64/"):
            path = "lib/" + path[len("lib64/") :]
        line = self._known(member)._replace(path=self._relative(path))
        return InstalledFile(path, member.executable, member.size, member, line)

    def _launchers(self) -> Iterator[InstalledFile]:
        for script in self._scripts:
            path = f"bin/{script.name}"
            text = script.launcher(self._python)
            line = record.line_of(self._relative(path), text)
            yield InstalledFile(path, True, len(text), text, line)

    @cached_property
    def _scripts(self) -> tuple[scripts.Script, ...]:
        if f"{self._wheel.dist_info}/entry_points.txt" not in self._wheel.members:
            return ()
        return scripts.parse(
            self._wheel.metadata("entry_points.txt"),
            filename=self._wheel.filename,
            minor=self._minor,
        )

    def _metadata(self) -> Iterator[InstalledFile]:
        folder = self._wheel.dist_info
        yield self._generated(f"{folder}/INSTALLER", _INSTALLER)
        if self._distribution.requested:
            yield self._generated(f"{folder}/REQUESTED", b"")
        if self._distribution.direct_url is not None:
            text = self._distribution.direct_url.encode()
            yield self._generated(f"{folder}/direct_url.json", text)

    def _generated(self, name: str, text: bytes) -> InstalledFile:
        return InstalledFile(
            f"{self._site}/{name}",
            False,
            len(text),
            text,
            record.line_of(name, text),
        )

    def _known(self, member: Member) -> RecordLine:
        """Return what the wheel's ``RECORD`` says of *member*, completed."""
        line = self._wheel.record.get(member.name)
        if line is None or not line.hash:
            return self._line(member.name, member)
        return line if line.size else line._replace(size=str(member.size))

    def _line(self, path: str, content: Content) -> RecordLine:
        """Return the line for a file, whatever the wheel's ``RECORD`` says."""
        digest = hashlib.sha256(usedforsecurity=False)
        size = 0
        for chunk in self.chunks(content):
            digest.update(chunk)
            size += len(chunk)
        return RecordLine(path, record.hash_text(digest.digest()), str(size))

    def _relative(self, path: str) -> str:
        """Return *path* as ``RECORD`` has it, relative to site-packages."""
        return posixpath.relpath(path, self._site)

    def _check_folders(self, files: Iterable[str]) -> None:
        """Refuse a file where another file needs a folder."""
        paths = self._reserved.union(files)
        for folder in sorted(paths & folders_of(paths, below="")):
            self._refuse(f"{folder!r} would be both a file and a folder")

    def _refuse(self, what: str) -> NoReturn:
        raise BuildFailedError(
            f"{self._distribution.name} {self._distribution.version} "
            f"({self._wheel.filename}): {what}",
            hint=_HINT,
        )


def venv_paths(interpreter: Interpreter) -> tuple[str, ...]:
    """Return the files and links that make a folder an environment."""
    major, minor = interpreter.version
    return (
        "bin/python",
        "bin/python3",
        f"bin/python{major}.{minor}",
        "lib64",
        "pyvenv.cfg",
    )
