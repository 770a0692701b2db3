"""The checks of ``imagekit doctor``. They change nothing and ask no registry."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from imagekit import __version__
from imagekit.cli.sizes import size_text
from imagekit.plugins import installed
from imagekit.records import dataclass
from imagekit.settings import Settings
from imagekit.store import Store
from imagekit.store_contents import list_items

#: Seconds that a program may take to say its version.
_PATIENCE = 10
_LITTLE = 2 * 10**9


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    Attributes:
        text: one or more lines.
        hint: what to do about it, where something is wrong.
    """

    state: Literal["ok", "warning", "fault"]
    text: str
    hint: str | None = None


def _imagekit(_settings: Settings) -> Finding:
    python = ".".join(map(str, sys.version_info[:3]))
    home = Path(__file__).parent.parent
    return Finding("ok", f"{__version__} in {home}, Python {python}")


def _flyte(_settings: Settings) -> Finding:
    """Say whose ``flyte`` an import would give; both projects install that name."""
    spec = importlib.util.find_spec("flyte")
    if spec is None or spec.origin is None:
        return Finding("warning", "no 'import flyte' here", "reinstall imagekit")
    path = Path(spec.origin)
    if "imagekit" in path.read_text("utf-8", errors="replace")[:400]:
        return Finding("ok", f"'import flyte' is imagekit's, {path}")
    return Finding(
        "warning",
        f"'import flyte' is not imagekit's, but {path}",
        "write 'import imagekit', or uninstall the flyte distribution and then "
        "reinstall imagekit",
    )


def _builders(_settings: Settings) -> Finding:
    names = installed()
    if not names:
        return Finding("fault", "none is installed", "reinstall imagekit")
    return Finding("ok", ", ".join(names))


def _uv(_settings: Settings) -> Finding:
    try:
        from uv import find_uv_bin  # noqa: PLC0415  (may be missing)

        program = find_uv_bin()
    except (ImportError, FileNotFoundError):
        program = shutil.which("uv") or ""
    if not program:
        return Finding("fault", "not found", "install it: pip install uv")
    done = _say([program, "--version"])
    if isinstance(done, str):
        return Finding("fault", f"{program}: {done}", "reinstall uv")
    return Finding("ok", f"{done.stdout.strip()}, {program}")


def _engine(_settings: Settings) -> Finding:
    program = shutil.which("docker")
    if program is None:
        return Finding(
            "warning",
            "no docker on PATH: --output docker is not possible; all else is",
        )
    done = _say([program, "version", "--format", "{{json .}}"])
    if isinstance(done, str):
        return Finding("warning", f"{program}: {done}", "check 'docker version'")
    server: dict[str, Any] = _json(done.stdout).get("Server") or {}
    if done.returncode or not server:
        reason = done.stderr.strip().splitlines()[:1] or ["no answer"]
        return Finding(
            "warning",
            f"{program} has no engine: {reason[0]}",
            "start the engine, or set DOCKER_HOST; only --output docker needs it",
        )
    platform = f"{server.get('Os')}/{server.get('Arch')}"
    return Finding("ok", f"{server.get('Version')} ({platform}), {program}")


def _logins(_settings: Settings) -> Finding:
    """Name the hosts that there are logins for; never a user, never a secret."""
    docker = os.environ.get("DOCKER_CONFIG") or "~/.docker"
    path = Path(docker).expanduser() / "config.json"
    if not path.is_file():
        return Finding("ok", f"none (no {path})")
    config = _json(path.read_text("utf-8", errors="replace"))
    if not config:
        return Finding("warning", f"{path} is not a JSON object", "repair the file")
    lines = [f"{host}" for host in sorted(_object(config.get("auths")))]
    helpers = sorted(_object(config.get("credHelpers")).items())
    lines += [f"{host}, by docker-credential-{name}" for host, name in helpers]
    if store := config.get("credsStore"):
        lines.append(f"those of docker-credential-{store}")
        helpers.append(("all registries", store))
    missing = [
        name
        for name in dict.fromkeys(str(name) for _, name in helpers)
        if shutil.which(f"docker-credential-{name}") is None
    ]
    if missing:
        text = ", ".join(f"docker-credential-{name}" for name in missing)
        lines.append(f"not on PATH: {text}")
        return Finding("warning", "\n".join(lines), "install it, or log in again")
    return Finding("ok", "\n".join(lines) or "none")


def _mirrors(settings: Settings) -> Finding:
    lines = [f"{name} is read from {mirror}" for name, mirror in settings.mirrors]
    return Finding("ok", "\n".join(lines) or "none")


def _certificates(settings: Settings) -> Finding:
    if settings.ca_bundle:
        source = settings.sources["ca_bundle"]
        path, text = Path(settings.ca_bundle), f"{settings.ca_bundle} ({source})"
        try:
            ssl.create_default_context(cafile=path)
        except (OSError, ssl.SSLError) as error:
            return Finding("fault", f"{text}: {error}", "name a file in PEM format")
        return Finding("ok", text)
    paths = ssl.get_default_verify_paths()
    found = paths.cafile or paths.capath
    for variable in (paths.openssl_cafile_env, paths.openssl_capath_env):
        if named := os.environ.get(variable):
            if not Path(named).exists():
                return Finding("fault", f"no {named} ({variable})", f"unset {variable}")
            return Finding("ok", f"{named} ({variable})")
    if not found:
        return Finding(
            "fault",
            "the system has none",
            "install ca-certificates, or set IMAGEKIT_CA_BUNDLE",
        )
    return Finding("ok", f"{found} (system)")


def _cache(settings: Settings) -> Finding:
    store = Store(settings.cache_dir)
    folder = store.root
    while not folder.exists():
        folder = folder.parent
    if not os.access(folder, os.W_OK):
        hint = "set IMAGEKIT_CACHE_DIR to a folder that can be written"
        return Finding("fault", f"can't write to {folder}", hint)
    size = sum(item.size for item in list_items(store))
    free = shutil.disk_usage(folder).free
    text = (
        f"{settings.cache_dir}, {size_text(size)} of {size_text(settings.cache_cap)}, "
        f"{size_text(free)} free"
    )
    if size > settings.cache_cap or free < _LITTLE:
        return Finding("warning", text, "run 'imagekit cache gc'")
    return Finding("ok", text)


def _configuration(settings: Settings) -> Finding:
    files = "\n".join(str(path) for path in settings.files)
    return Finding("ok", files or "no file; see 'imagekit config'")


#: Title and check, in the order in which they are shown.
CHECKS: tuple[tuple[str, Callable[[Settings], Finding]], ...] = (
    ("imagekit", _imagekit),
    ("flyte", _flyte),
    ("builders", _builders),
    ("uv", _uv),
    ("engine", _engine),
    ("logins", _logins),
    ("mirrors", _mirrors),
    ("CA bundle", _certificates),
    ("cache", _cache),
    ("settings", _configuration),
)


def _say(argv: list[str]) -> subprocess.CompletedProcess[str] | str:
    """Run a program that says its version, or return why it did not."""
    try:
        return subprocess.run(
            argv, capture_output=True, text=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_PATIENCE} s"
    except OSError as error:
        return error.strerror or str(error)


def _json(text: str) -> dict[str, Any]:
    try:
        return _object(json.loads(text))
    except ValueError:
        return {}


def _object(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
