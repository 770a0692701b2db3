"""One run of ``docker buildx build``: its command line, its process, its progress."""

from __future__ import annotations

import csv
import os
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from imagekit.builder import Execution
from imagekit.errors import BuilderUnavailableError
from imagekit.records import dataclass
from imagekit.redaction import Redactor
from imagekit_buildkit.context import dockerfile_name
from imagekit_buildkit.docker_cli import csv_line
from imagekit_buildkit.failure import build_failure, lost
from imagekit_buildkit.instance import Connection
from imagekit_buildkit.progress_log import ProgressLog
from imagekit_buildkit.recipe import BASE, Recipe
from imagekit_buildkit.workspace import CONTEXT, Workspace

#: After so many seconds without progress, it is asked whether BuildKit is still there.
_SILENCE = 2.0
#: It is gone if it does not answer twice, so many seconds each.
_ANSWER = 2.5
#: Seconds that buildx gets for cleaning up before it is killed.
_GRACE = 5.0
#: Signals of one kind that come together count as one.
_PAUSE = 0.1
_CHUNK = 1 << 16
_KEPT = 1 << 16
_PATHS = {"src", "dest"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Solve:
    """What one run of buildx is to do.

    Attributes:
        output: value of ``--output``; paths in it are relative to the workspace.
        base: value of the named context ``BASE``, if the Dockerfile wants one.
        secrets: flags that name secrets and proxies.
    """

    recipe: Recipe
    execution: Execution
    output: str
    base: str | None
    secrets: Sequence[str]

    def arguments(self) -> list[str]:
        """Return the arguments of ``docker buildx build``."""
        execution, recipe = self.execution, self.recipe
        flags = [
            *("--progress", "rawjson", "--platform", str(recipe.platform)),
            *("--output", self.output),
            *("--file", f"{CONTEXT}/{dockerfile_name(recipe)}"),
            f"--provenance={execution.provenance or 'false'}",
            f"--sbom={execution.sbom or 'false'}",
            *("--build-arg", f"SOURCE_DATE_EPOCH={recipe.created}"),
            *self.secrets,
        ]
        for name, text in recipe.build_args:
            flags += ["--build-arg", f"{name}={text}"]
        if self.base is not None:
            flags += ["--build-context", f"{BASE}={self.base}"]
        if recipe.target is not None:
            flags += ["--target", recipe.target]
        if execution.no_cache:
            flags.append("--no-cache")
        if execution.network is not None:
            flags += ["--network", execution.network]
        if execution.network == "host":
            flags += ["--allow", "network.host"]
        for cache in execution.cache_from:
            flags += ["--cache-from", _absolute(cache)]
        for cache in execution.cache_to:
            flags += ["--cache-to", _absolute(cache)]
        return flags


def run(
    solve: Solve,
    connection: Connection,
    place: Workspace,
    log: ProgressLog,
    redact: Redactor,
) -> None:
    """Run buildx in *place*, and feed *log*.

    Raises:
        BuildFailedError: a step failed, or BuildKit refused.
        BuilderUnavailableError: BuildKit is gone.
    """
    command = connection.docker.command()
    command += ["buildx", "build"]
    command.add_simple_arg("--builder", connection.instance)
    argv = [*map(str, command), *solve.arguments(), CONTEXT]
    environment = dict(connection.docker.environment)
    if connection.instance is None:
        environment["BUILDX_CONFIG"] = str(place.settings)
    text = bytearray()
    with _process(argv, environment, place.root) as process:
        assert process.stderr is not None
        failed = True
        try:
            for line in _lines(process.stderr.fileno(), connection):
                if not log.feed(line):
                    text += line + b"\n"
                    del text[:-_KEPT]
            code = process.wait()
            failed = code != 0
        finally:
            log.close(failed=failed)
    if code != 0:
        raise build_failure(
            solve.recipe,
            log,
            redact(text.decode(errors="replace")),
            code,
            endpoint=connection.endpoint,
        )


@contextmanager
def _process(
    argv: list[str], environment: dict[str, str], folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """Run *argv*, and end it however the block is left."""
    process = subprocess.Popen(
        argv,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    except BuilderUnavailableError:
        # Nobody is there who could end the build in an orderly way.
        _end(process, grace=0)
        raise
    finally:
        _end(process, grace=_GRACE)
        assert process.stderr is not None
        process.stderr.close()


def _end(process: subprocess.Popen[bytes], *, grace: float) -> None:
    """End *process*: docker, which ends buildx, its child.

    docker passes the first request on. At the third it kills buildx, which nobody else
    knows.
    """
    for seconds in (grace, 0, 1):
        if process.poll() is not None:
            return
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds or _PAUSE)
    if process.poll() is None:
        process.kill()
        process.wait()


def _lines(descriptor: int, connection: Connection) -> Iterator[bytes]:
    """Yield what comes, and look after BuildKit where nothing comes."""
    rest = b""
    while True:
        ready, _, _ = select.select([descriptor], [], [], _SILENCE)
        if not ready:
            _look_after(connection)
            continue
        chunk = os.read(descriptor, _CHUNK)
        if not chunk:
            break
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    if rest:
        yield rest


def _look_after(connection: Connection) -> None:
    """Raise if BuildKit has gone without a word: nothing else would ever notice."""
    reason = connection.lost(seconds=_ANSWER)
    if reason is None:
        return
    time.sleep(1)  # refused at once, perhaps: it may be about to come back
    reason = connection.lost(seconds=_ANSWER)
    if reason is None:
        return
    raise lost(connection.endpoint, reason)


def _absolute(cache: str) -> str:
    """Return the cache's description with paths that hold in any folder."""
    fields = next(csv.reader([cache]), [])
    if "type=local" not in fields:
        return cache
    pairs = [field.partition("=") for field in fields]
    return csv_line(
        [
            f"{name}={Path(text).expanduser().absolute()}" if name in _PATHS else field
            for field, (name, _, text) in zip(fields, pairs, strict=True)
        ]
    )
