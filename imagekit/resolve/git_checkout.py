"""A commit of a git repository, as files."""

from __future__ import annotations

import os
from pathlib import Path

from imagekit.errors import DownloadError
from imagekit.resolve.credentials import Credentials
from imagekit.resolve.pins import SourceGit

_TAIL = 500


def check_out(source: SourceGit, folder: Path, credentials: Credentials) -> Path:
    """Write the files of *source* into the new *folder*, and return the project's.

    Raises:
        DownloadError: git is missing, or could not fetch the commit.
    """
    folder.mkdir()
    environ = {**os.environ, **_login(source.url, credentials)}
    for argv in (
        ["init", "--quiet"],
        ["fetch", "--quiet", "--depth", "1", source.url, source.commit],
        ["checkout", "--quiet", "FETCH_HEAD"],
        ["submodule", "--quiet", "update", "--init", "--recursive", "--depth", "1"],
    ):
        _run(argv, folder, environ, credentials)
    return folder / source.subdirectory if source.subdirectory else folder


def _login(url: str, credentials: Credentials) -> dict[str, str]:
    """Return variables that give git the login for *url*, which no argument may."""
    with_login = credentials.with_login(url)
    variables = {"GIT_TERMINAL_PROMPT": "0"}
    if with_login != url:
        variables |= {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{with_login}.insteadOf",
            "GIT_CONFIG_VALUE_0": url,
        }
    return variables


def _run(
    argv: list[str], folder: Path, environ: dict[str, str], credentials: Credentials
) -> None:
    import subprocess  # noqa: PLC0415  (only for requirements from repositories)

    try:
        subprocess.run(
            ["git", *argv],  # noqa: S607  (the user's git)
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=True,
        )
    except FileNotFoundError as error:
        raise DownloadError(
            "git is not installed, and a requirement comes from a repository",
            hint="install git",
        ) from error
    except subprocess.CalledProcessError as error:
        said = credentials.hide(error.stderr.strip())[-_TAIL:]
        raise DownloadError(
            f"git {argv[0]} failed: {said}",
            hint="check that the repository and the commit can be reached",
        ) from error
