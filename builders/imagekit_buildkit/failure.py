"""Why a build failed: what ran, what it printed, and who asked for it."""

from __future__ import annotations

import re

from imagekit.errors import BuilderError, BuilderUnavailableError, BuildFailedError
from imagekit.origin import Origin
from imagekit_buildkit.endpoint import Endpoint, EngineEndpoint
from imagekit_buildkit.progress_log import ProgressLog, Vertex
from imagekit_buildkit.recipe import Recipe

_TAIL = 20
_LINE = re.compile(r"^\S*Dockerfile\S*:(\d+)$", re.MULTILINE)
_EXIT_CODE = re.compile(r"did not complete successfully: exit code: (\d+)")
_ERROR = re.compile(r"^ERROR: (.*)", re.MULTILINE | re.DOTALL)
_PREFIXES = ("failed to build: ", "failed to solve: ")
#: What gRPC and Docker say when nobody is at the other end any more.
_GONE = (
    "code = unavailable",
    "closing transport",
    "transport is closing",
    "error reading from server",
    "connection refused",
    "connection reset by peer",
    "broken pipe",
    "context deadline exceeded",
    "cannot connect to the docker daemon",
    "failed to connect to the docker api",
    "error during connect",
    "use of closed network connection",
    "no route to host",
    "unexpected eof",
)
#: What buildx says when it found no BuildKit to begin with.
_ABSENT = ("failed to list workers", "failed to initialize builder", "no builder ")
_EMULATION = "exec format error"


def build_failure(
    recipe: Recipe,
    log: ProgressLog,
    text: str,
    exit_code: int,
    *,
    endpoint: Endpoint,
) -> BuilderError:
    """Return the error for a build that failed.

    Args:
        recipe: what was built.
        log: what BuildKit said while it worked.
        text: what buildx said at the end, without secrets.
        exit_code: of buildx.
        endpoint: where it was built.
    """
    line = _LINE.search(text)
    vertex = log.at_line(int(line[1])) if line else None
    if vertex is None or not vertex.error:
        vertex = log.failed() or vertex
    message = _message(text)
    if _step_failed(vertex):
        assert vertex is not None
        return _failed_step(recipe, log, vertex, int(line[1]) if line else vertex.line)
    lower = f"{text} {vertex.error if vertex else ''}".lower()
    if any(words in lower for words in _ABSENT):
        return BuilderUnavailableError(
            f"no BuildKit answers at {endpoint}: {message}",
            hint="check IMAGEKIT_REMOTE and that buildkitd runs there",
        )
    if any(words in lower for words in _GONE):
        return lost(endpoint, message or f"buildx ended with exit code {exit_code}")
    origin = _origin(log, int(line[1])) if line else None
    return BuildFailedError(
        f"BuildKit at {endpoint} failed: "
        + (message or f"buildx ended with exit code {exit_code}"),
        exit_code=exit_code,
        log_tail=_tail(vertex) or text[-4000:],
        hint=_hint(recipe, text, endpoint),
        origin=str(origin) if origin else None,
    )


def lost(endpoint: Endpoint, reason: str) -> BuilderUnavailableError:
    """Return the error for a BuildKit that was there and is gone."""
    return BuilderUnavailableError(
        f"lost the BuildKit at {endpoint} while it was building: {reason}",
        hint="nothing was kept; build again when it runs",
    )


def _step_failed(vertex: Vertex | None) -> bool:
    return vertex is not None and _EXIT_CODE.search(vertex.error) is not None


def _failed_step(
    recipe: Recipe, log: ProgressLog, vertex: Vertex, line: int
) -> BuildFailedError:
    code = _EXIT_CODE.search(vertex.error)
    assert code is not None
    instruction = log.instruction(line) if line else None
    if instruction is not None:
        shown = instruction.command or instruction.title
    else:
        shown = vertex.name.partition("] ")[2] or vertex.name
    where = f" (line {line} of the Dockerfile)" if line and not instruction else ""
    tail = _tail(vertex)
    foreign = _EMULATION in f"{tail} {vertex.error}".lower()
    return BuildFailedError(
        f"{shown!r}{where} failed with exit code {code[1]}"
        + (f" on {recipe.platform}" if foreign else ""),
        argv=(shown,),
        exit_code=int(code[1]),
        log_tail=tail,
        hint=_emulation(recipe) if foreign else None,
        origin=str(instruction.origin) if instruction and instruction.origin else None,
    )


def _hint(recipe: Recipe, text: str, endpoint: Endpoint) -> str | None:
    lower = text.lower()
    if _EMULATION in lower:
        return _emulation(recipe)
    if "cache export is not supported" in lower or "cache export feature" in lower:
        return (
            "the Docker engine exports caches with the containerd image store only; "
            "switch it on, or use the builder 'remote'"
        )
    if "network.host" in lower or "entitlement" in lower:
        return f"let the BuildKit at {endpoint} grant network.host, or leave it out"
    if isinstance(endpoint, EngineEndpoint) and "no space left" in lower:
        return "free some space with 'docker builder prune'"
    return None


def _emulation(recipe: Recipe) -> str:
    return (
        f"the machine that builds can't run programs for {recipe.platform}: set up "
        "QEMU there ('docker run --privileged --rm tonistiigi/binfmt --install all'), "
        f"or build on a native {recipe.platform} machine with the builder 'remote'"
    )


def _message(text: str) -> str:
    found = _ERROR.search(text)
    message = (found[1] if found else text).strip()
    for prefix in _PREFIXES:
        message = message.removeprefix(prefix)
    return message


def _tail(vertex: Vertex | None) -> str:
    return "\n".join(vertex.tail(_TAIL)) if vertex else ""


def _origin(log: ProgressLog, line: int) -> Origin | None:
    instruction = log.instruction(line)
    return instruction.origin if instruction else None
