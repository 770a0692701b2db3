"""The ``docker`` command, which reaches the engine that the user's shell does.

The command, and not the API or a package around it: contexts, ``DOCKER_HOST``, ssh and
the settings of Docker Desktop then mean what they mean to the user, images go through a
pipe without being held in memory, and nothing more is installed.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO

from imagekit.digest import Digest
from imagekit.errors import BuilderUnavailableError, BuildFailedError
from imagekit.records import dataclass

_UNREACHABLE = (
    "cannot connect to the docker daemon",
    "is the docker daemon running",
    "permission denied while trying to connect",
    "error during connect",
    "failed to connect to the docker api",
)
_ABSENT = ("no such image", "no such object")
#: As many names as surely fit into one command line.
_AT_ONCE = 500
_LOG = 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Docker:
    """Runs the ``docker`` command.

    Every method raises BuilderUnavailableError where there is no command or no engine,
    and BuildFailedError where the engine refuses.

    Attributes:
        program: name or path of the command.
        environment: its environment; None for that of this process.
    """

    program: str = "docker"
    environment: Mapping[str, str] | None = None

    def has_containerd_store(self) -> bool:
        """Return whether images are in containerd's store, rather than the classic."""
        text = self._text("info", "--format", "{{json .}}")
        info: dict[str, Any] = json.loads(text)
        if info.get("ServerErrors"):
            raise _unavailable(" ".join(info["ServerErrors"]))
        status = dict(info.get("DriverStatus") or ())
        return status.get("driver-type") == "io.containerd.snapshotter.v1"

    def image_id(self, name: str) -> Digest | None:
        """Return the id of an image, or None where the engine has no such image.

        In containerd's store that is the digest of its manifest or index, in the
        classic store the digest of its config.
        """
        argv = ("image", "inspect", "--format", "{{.Id}}", name)
        done = self._run(*argv)
        if done.returncode != 0:
            if _says(done.stderr, _ABSENT):
                return None
            raise self._failure(argv, done.returncode, done.stderr)
        return Digest.parse(done.stdout.strip())

    def images(self) -> dict[Digest, tuple[str, ...]]:
        """Return the ids of all images, with the diff ids of their layers."""
        ids = self._text("image", "ls", "--quiet", "--no-trunc").split()
        unique = list(dict.fromkeys(ids))
        found: dict[Digest, tuple[str, ...]] = {}
        for start in range(0, len(unique), _AT_ONCE):
            names = unique[start : start + _AT_ONCE]
            form = "{{.Id}} {{json .RootFS.Layers}}"
            # An image that has just gone is an error of the command; the others count.
            done = self._run("image", "inspect", "--format", form, *names)
            for line in done.stdout.splitlines():
                name, _, layers = line.partition(" ")
                if layers:
                    found[Digest.parse(name)] = tuple(json.loads(layers) or ())
        return found

    def tag(self, image: Digest, name: str) -> None:
        """Give an image that the engine has another name."""
        self._text("tag", str(image), name)

    def load(self, write: Callable[[BinaryIO], None]) -> None:
        """Load the archive that *write* writes."""
        argv = (self.program, "load")
        with tempfile.TemporaryFile() as log:
            process = self._start(argv, stdin=subprocess.PIPE, stdout=log, stderr=log)
            assert process.stdin is not None
            with _ended(process):
                try:
                    write(process.stdin)  # type: ignore[arg-type]  # IO[bytes]
                    process.stdin.close()
                except BrokenPipeError:
                    pass  # the engine gave up, and says why
                code = process.wait()
            log.seek(0)
            text = log.read().decode(errors="replace")
        # With containerd's store the command succeeds even where unpacking failed.
        if code != 0 or "error unpacking" in text.lower():
            raise self._failure(argv[1:], code, text)

    @contextmanager
    def save(self, name: str) -> Iterator[BinaryIO]:
        """Give the archive of an image, as a stream."""
        argv = (self.program, "image", "save", name)
        with tempfile.TemporaryFile() as log:
            process = self._start(argv, stdout=subprocess.PIPE, stderr=log)
            assert process.stdout is not None
            with _ended(process):
                yield process.stdout  # type: ignore[misc]  # IO[bytes]
                while process.stdout.read(1 << 20):
                    pass  # padding behind the end of the archive
                code = process.wait()
            if code != 0:
                log.seek(0)
                text = log.read().decode(errors="replace")
                raise self._failure(argv[1:], code, text)

    def _text(self, *arguments: str) -> str:
        done = self._run(*arguments)
        if done.returncode != 0:
            raise self._failure(arguments, done.returncode, done.stderr)
        return done.stdout

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                [self.program, *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        except OSError as error:
            raise self._absent(error) from error

    def _start(self, argv: Sequence[str], **files: Any) -> subprocess.Popen[bytes]:
        files.setdefault("stdin", subprocess.DEVNULL)
        try:
            return subprocess.Popen(argv, env=self.environment, **files)
        except OSError as error:
            raise self._absent(error) from error

    def _absent(self, error: OSError) -> BuilderUnavailableError:
        return BuilderUnavailableError(
            f"can't run {self.program!r}: {error.strerror}",
            hint="install Docker, or use --output oci:DIR or tar:FILE",
        )

    def _failure(
        self, arguments: Sequence[str], code: int, text: str
    ) -> BuilderUnavailableError | BuildFailedError:
        if _says(text, _UNREACHABLE):
            return _unavailable(text)
        lines = text.strip().splitlines() or [f"exit code {code}"]
        return BuildFailedError(
            f"'docker {' '.join(arguments[:2])}' failed: {lines[-1]}",
            argv=(self.program, *arguments),
            exit_code=code,
            log_tail=text[-_LOG:],
        )


def _unavailable(text: str) -> BuilderUnavailableError:
    return BuilderUnavailableError(
        f"no Docker engine answers: {text.strip()}",
        hint="start Docker, or set DOCKER_HOST or the Docker context to one that runs",
    )


def _says(text: str, words: Sequence[str]) -> bool:
    lower = text.lower()
    return any(word in lower for word in words)


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leave no process behind, however the block is left."""
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                # What was left in the buffer is for a process that has ended.
                with suppress(BrokenPipeError):
                    pipe.close()
        process.wait()
