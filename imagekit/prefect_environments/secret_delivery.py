"""How a container gets its secrets: over a pipe in memory, once it runs.

Variables of ``docker run`` can be read by all who may inspect the container, and stay
in its description. So the container starts with a few lines of shell that wait for the
values, set them, and become the program. The values go over the standard input of
``docker exec``, and are in no argument, description, layer or log.
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterable, Sequence

from imagekit.secret import Secret
from imagekit.secret_values import secret_value
from imagekit.task_errors import RuntimeSystemError

#: A file system in memory, for the pipe and for secrets that are mounted.
FOLDER = "/run/imagekit-secrets"
_SHELL = "/bin/sh"
_PIPE = f"{FOLDER}/pipe"
#: The variables are only set when all of the values are there.
_WAIT = f'umask 077; mkfifo {_PIPE} && values=$(cat {_PIPE}) && rm {_PIPE} && \
eval "$values" && unset values && exec "$@"'
_SEND = f"while [ ! -p {_PIPE} ]; do sleep 0.05; done; cat > {_PIPE}"
_SECONDS = 60


def waiting_command(argv: Sequence[str]) -> tuple[str, list[str]]:
    """Return entrypoint and arguments of a container that waits before it runs *argv*.

    The image has to have a shell.
    """
    return _SHELL, ["-c", _WAIT, "imagekit", *argv]


def secret_assignments(secrets: Iterable[Secret]) -> str:
    """Return the lines of shell that set *secrets*.

    Raises:
        PlanError: a secret has no value.
    """
    lines = []
    for number, secret in enumerate(secrets):
        value = shlex.quote(secret_value(secret))
        if secret.as_env_var is not None:
            lines.append(f"export {secret.as_env_var}={value}")
        if secret.mount is not None:
            file, mount = f"{FOLDER}/{number}", str(secret.mount)
            folder = mount.rpartition("/")[0] or "/"
            lines += [
                f"printf %s {value} > {file}",
                f"mkdir -p {shlex.quote(folder)}",
                f"ln -sf {file} {shlex.quote(mount)}",
            ]
    return " &&\n".join(lines) + "\n"


def send_secrets(docker: Sequence[str], container: str, assignments: str) -> None:
    """Give *assignments* to a container that waits for them.

    Args:
        docker: the command and its options.
        container: its id.
        assignments: from :func:`secret_assignments`.

    Raises:
        RuntimeSystemError: the container doesn't take them.
    """
    argv = [*docker, "exec", "--interactive", container, _SHELL, "-c", _SEND]
    try:
        done = subprocess.run(
            argv,
            input=assignments.encode("utf-8", "surrogateescape"),
            capture_output=True,
            check=False,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise RuntimeSystemError(
            f"the container took no secrets within {_SECONDS} s",
            hint="secrets need an image with a shell, mkfifo and sleep",
        ) from error
    if done.returncode:
        text = done.stderr.decode(errors="replace").strip()
        raise RuntimeSystemError(
            f"the container took no secrets: {text or f'exit code {done.returncode}'}",
            hint="secrets need an image with a shell, mkfifo and sleep",
        )
