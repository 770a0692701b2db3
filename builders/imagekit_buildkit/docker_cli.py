"""The ``docker`` command: composed by python-on-whales, run with a deadline.

python-on-whales finds the command and knows its flags, but runs it without a deadline
and with the environment of this process. So it composes the commands here, and they
are run by this module and :mod:`imagekit_buildkit.solve`.
"""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from imagekit.errors import BuilderUnavailableError
from imagekit.records import dataclass

if TYPE_CHECKING:
    from python_on_whales.client_config import Command

_INSTALL = "install Docker with its buildx plugin, or use the builder 'embedded'"
_NO_BUILDX = (
    "is not a docker command",
    "unknown command: docker buildx",
    "unknown shorthand flag",
)


@dataclass(frozen=True, slots=True)
class DockerCLI:
    """Runs the ``docker`` command in *environment*."""

    environment: Mapping[str, str]

    def command(self) -> Command:
        """Return a new command line that begins with ``docker``.

        Raises:
            BuilderUnavailableError: there is no such command.
        """
        # It imports pydantic, which takes a while.
        from python_on_whales.client_config import ClientConfig  # noqa: PLC0415

        path = self.environment.get("PATH")
        program = shutil.which("docker", path=path)
        if program is None:
            raise BuilderUnavailableError(
                "there is no 'docker' command on the PATH", hint=_INSTALL
            )
        # Where this process is killed, no code of it runs: the kernel ends the child.
        guard = shutil.which("setpriv", path=path)
        call = [guard, "--pdeathsig", "TERM", "--", program] if guard else [program]
        return ClientConfig(client_call=call).docker_cmd

    def run(self, *arguments: str, seconds: float) -> subprocess.CompletedProcess[str]:
        """Run ``docker`` with *arguments*, whatever its exit code.

        Raises:
            BuilderUnavailableError: there is no command, or no buildx where it is
                asked for, or it takes longer than *seconds*.
        """
        argv = list(map(str, self.command() + list(arguments)))
        try:
            done = subprocess.run(
                argv,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=seconds,
            )
        except OSError as error:
            raise BuilderUnavailableError(
                f"can't run 'docker': {error.strerror}", hint=_INSTALL
            ) from error
        except subprocess.TimeoutExpired as error:
            raise BuilderUnavailableError(
                f"'docker {' '.join(arguments[:2])}' gave no answer in {seconds:g} s"
            ) from error
        if done.returncode and arguments[0] == "buildx":
            raise_without_buildx(done.stderr)
        return done


def raise_without_buildx(text: str) -> None:
    """Raise BuilderUnavailableError if *text* says that docker has no buildx."""
    if any(words in text for words in _NO_BUILDX):
        raise BuilderUnavailableError(
            "the 'docker' command has no buildx plugin",
            hint="install the package docker-buildx-plugin (docker-buildx on Debian)",
        )


def csv_line(fields: Sequence[str]) -> str:
    """Return *fields* as buildx reads them: one line of CSV."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(fields)
    return line.getvalue()
