"""uv as a subprocess: the arguments that we give, and its failures as our errors."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from imagekit.errors import ResolutionError
from imagekit.records import dataclass, field

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_NO_SOLUTION = "No solution found"
_NETWORK = ("Failed to fetch", "Request failed", "error sending request", "dns error")
_FULL = "No space left on device"
_UNAUTHORIZED = ("401 Unauthorized", "403 Forbidden", "Missing credentials")


class UvError(Exception):
    """uv ended with an error; *text* is what it said, without secrets."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    @property
    def is_conflict(self) -> bool:
        """Whether uv worked, and no set of distributions does."""
        return _NO_SOLUTION in self.text

    @property
    def is_full_disk(self) -> bool:
        """Whether uv had no room for its files."""
        return _FULL in self.text

    @property
    def hint(self) -> str:
        """What can be done about it."""
        if any(item in self.text for item in _UNAUTHORIZED):
            return (
                "give the index's login: in its URL, in UV_INDEX_<NAME>_USERNAME and "
                "_PASSWORD, in ~/.netrc, or with 'uv auth login'"
            )
        if self.is_full_disk:
            return (
                "free some space with 'imagekit cache gc' or 'uv cache clean', or set "
                "IMAGEKIT_CACHE_DIR and UV_CACHE_DIR to folders with room"
            )
        if any(item in self.text for item in _NETWORK):
            return "check the connection to the package index, and its URL"
        if self.is_conflict:
            return "relax one of the requirements that are named"
        return "correct what uv names"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A resolution to be made.

    Attributes:
        requirements: lines of a requirements file; may hold logins.
        sources: paths of pyproject.toml files whose dependencies count.
        documents: texts of such files.
        constraints: lines that limit versions without asking for anything.
        overrides: lines that replace what distributions ask for.
        preferences: name and version of what is kept if it can be.
        options: options for ``uv pip compile``.
        environ: the environment for uv, with its indexes and secrets.
        folder: where uv looks for its configuration.
    """

    requirements: Sequence[str]
    sources: Sequence[str] = ()
    documents: Sequence[str] = ()
    constraints: Sequence[str] = ()
    overrides: Sequence[str] = ()
    preferences: Mapping[str, str] = field(default_factory=dict)
    options: Sequence[str] = ()
    find_links: Sequence[str] = ()
    environ: Mapping[str, str]
    folder: str


class Uv:
    """Runs uv.

    Args:
        path: the program; by default the one that is installed with imagekit.
        temporary: folder for files that are handed to uv; only the user can read them.
    """

    def __init__(self, path: str | None = None, *, temporary: Path) -> None:
        self._path = path
        self._temporary = temporary
        self._pythons: dict[str, str | None] = {}

    @property
    def path(self) -> str:
        """The program.

        Raises:
            ResolutionError: uv is not installed.
        """
        if self._path is None:
            from uv import find_uv_bin  # noqa: PLC0415  (only where uv is called)

            try:
                self._path = find_uv_bin()
            except FileNotFoundError as error:
                raise ResolutionError(
                    "uv is not installed with imagekit", hint="pip install uv"
                ) from error
        return self._path

    def compile(
        self,
        question: Question,
        *,
        platform: str,
        python: str,
        interpreter: str | None,
        hide: Callable[[str], str],
    ) -> tuple[dict[str, Any], Path]:
        """Return a lock (PEP 751) that answers *question*, and its folder.

        The folder is where the lock's relative paths start.

        Raises:
            UvError: there is no answer, or uv failed.
        """
        import tempfile  # noqa: PLC0415  (slow to import)

        with tempfile.TemporaryDirectory(dir=self._temporary, prefix="uv-") as name:
            folder = Path(name)
            argv = ["pip", "compile", "--quiet", "--no-header", "--no-progress"]
            argv += ["--format", "pylock.toml", "--generate-hashes"]
            argv += ["--python-platform", platform, "--python-version", python]
            if interpreter is not None:
                argv += ["--python", interpreter]
            argv += question.options
            argv += question.sources
            argv += _written(folder, question)
            lock = folder / "pylock.toml"
            if question.preferences:
                lock.write_text(_preferences(question.preferences), encoding="utf-8")
            argv += ["--output-file", str(lock)]
            self.run(argv, environ=question.environ, folder=question.folder, hide=hide)
            import tomllib  # noqa: PLC0415  (only to read an answer)

            return tomllib.loads(lock.read_text(encoding="utf-8")), folder

    def run(
        self,
        argv: Sequence[str],
        *,
        environ: Mapping[str, str],
        folder: str | None,
        hide: Callable[[str], str],
    ) -> str:
        """Run uv and return what it printed.

        Raises:
            UvError: it failed.
        """
        import subprocess  # noqa: PLC0415  (only where uv is called)

        variables = {**environ, "UV_PYTHON_DOWNLOADS": "never", "NO_COLOR": "1"}
        done = subprocess.run(
            [self.path, *argv],
            env=variables,
            cwd=folder if folder and Path(folder).is_dir() else None,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode != 0:
            raise UvError(hide(_words(done.stderr)))
        return done.stdout

    def find_python(self, version: str) -> str | None:
        """Return a Python of that minor version on this machine, or None."""
        import sys  # noqa: PLC0415

        if version == f"{sys.version_info[0]}.{sys.version_info[1]}":
            return sys.executable
        if version not in self._pythons:
            argv = ["python", "find", "--no-project", version]
            try:
                found = self.run(argv, environ=os.environ, folder=None, hide=str)
                self._pythons[version] = found.strip()
            except UvError:
                self._pythons[version] = None
        return self._pythons[version]


def _written(folder: Path, question: Question) -> list[str]:
    """Write what may hold logins to files, and return their arguments."""
    argv = []
    for number, text in enumerate(question.documents):
        document = folder / str(number) / "pyproject.toml"
        document.parent.mkdir()
        document.write_text(text, encoding="utf-8")
        argv.append(str(document))
    lines = [f"--find-links {item}" for item in question.find_links]
    lines += question.requirements
    if lines:
        requirements = folder / "requirements.in"
        requirements.write_text("".join(f"{line}\n" for line in lines))
        argv.append(str(requirements))
    for name, texts in (
        ("constraints", question.constraints),
        ("overrides", question.overrides),
    ):
        if texts:
            path = folder / f"{name}.txt"
            path.write_text("".join(f"{text}\n" for text in texts))
            argv += [f"--{name}", str(path)]
    return argv


def _preferences(versions: Mapping[str, str]) -> str:
    """Return a lock that uv takes versions from where they fit."""
    packages = "".join(
        f'\n[[packages]]\nname = "{name}"\nversion = "{version}"\n'
        for name, version in sorted(versions.items())
    )
    return f'lock-version = "1.0"\ncreated-by = "imagekit"\n{packages}'


def _words(stderr: str) -> str:
    """Return what uv said, in one piece and without its decoration."""
    lines = [
        line.strip()
        for line in _ANSI.sub("", stderr).splitlines()
        if not line.startswith(("warning:", "Using CPython", "Resolved "))
    ]
    text = " ".join(line for line in lines if line)
    return text.removeprefix("error: ").replace(" cause: ", ": ").rstrip(".")
