"""Settings: arguments, then the environment, then the project's file, then the user's.

This is the only place that looks for settings. They are read when asked for and handed
on as a value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imagekit.errors import ImageKitError, SettingsError
from imagekit.nearest import suggestion
from imagekit.records import dataclass, field
from imagekit.setting import Setting
from imagekit.settings_kinds import WrongValueError
from imagekit.settings_table import OTHER_VARIABLES, SETTINGS, TEST_VARIABLES

__all__ = ["Settings", "load_settings"]

_PROJECT_FILE = "imagekit.toml"
_PYPROJECT = "pyproject.toml"
_PREFIX = "IMAGEKIT_"
#: Every way in which TOML can name our table at the beginning of a line.
_OUR_TABLE = r"""(?mx) ^ [ \t]* (?: (?:\[\s*)? ['"]?tool['"]? \s* \. )?
    \s* ['"]?imagekit['"]? \s* [].=]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What people configure; ``docs/settings.md`` has the meanings.

    Attributes:
        mirrors: pairs of a registry and one of its mirrors, in order of preference.
        cache_cap: bytes.
        gpu_label: empty where no kind of GPU is asked for.
        gpu_products: pairs of a kind of GPU and a value of the label.
        sources: attribute to where its value came from.
        files: the files that were read, the nearest first.
    """

    builder: str = "auto"
    registry: str | None = None
    name_prefix: str | None = None
    platforms: tuple[str, ...] | None = None
    mirrors: tuple[tuple[str, str], ...] = ()
    insecure_registries: tuple[str, ...] = ()
    remote: str | None = None
    remote_ca: str | None = None
    remote_cert: str | None = None
    remote_key: str | None = None
    cache_from: tuple[str, ...] = ()
    cache_to: tuple[str, ...] = ()
    network: str | None = None
    ca_bundle: str | None = None
    cache_dir: Path
    cache_cap: int = 20 * 2**30
    jobs: int = 2
    mode: str = "local"
    environment: str | None = None
    record_dir: Path
    secrets_dir: str | None = None
    containers: int = 8
    kubeconfig: str | None = None
    kube_context: str | None = None
    namespace: str | None = None
    service_account: str | None = None
    pull_secrets: tuple[str, ...] = ()
    secret_name: str = "imagekit"  # noqa: S105  (the name of a Secret, not its value)
    pod_labels: tuple[tuple[str, str], ...] = ()
    pod_annotations: tuple[tuple[str, str], ...] = ()
    gpu_label: str = "nvidia.com/gpu.product"
    gpu_products: tuple[tuple[str, str], ...] = ()
    spot: str | None = None
    raw_data_path: str | None = None
    max_pods: int = 100
    sources: Mapping[str, str] = field(default_factory=dict, compare=False)
    files: tuple[Path, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """A value as somebody wrote it.

    Attributes:
        source: where, as ``imagekit config`` shows it.
        folder: where relative paths start.
        at: ``file:line``, where there is a file.
    """

    value: object
    source: str
    folder: str
    at: str | None = None


def load_settings(
    *,
    start: Path | None = None,
    arguments: Mapping[str, object] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Return the settings that hold in the folder *start*.

    Args:
        start: where the search for the project's file begins, upward; by default the
            working directory.
        arguments: values by attribute name; None is no value.
        environ: environment variables; an empty one is no value.

    Raises:
        SettingsError: a key or variable is unknown, a value is not what is wanted, or
            a file can't be read.
    """
    folder = Path(os.path.abspath(start or Path.cwd()))
    files = [path for path in (_project_file(folder), _user_file(environ)) if path]
    written: dict[str, _Written] = {}
    for path in reversed(files):
        written |= _from_file(path)
    written |= _from_environment(environ)
    written |= _from_arguments(arguments or {})
    values = {
        item.field: _checked(item, written[item.field])
        for item in SETTINGS
        if item.field in written
    }
    cache_dir = values.get("cache_dir") or _home(environ, "XDG_CACHE_HOME", ".cache")
    values["cache_dir"] = Path(str(cache_dir))
    records = values.get("record_dir") or _home(
        environ, "XDG_STATE_HOME", ".local/state"
    )
    values["record_dir"] = Path(str(records))
    values.setdefault("jobs", _processors())
    values.setdefault("containers", 4 * len(os.sched_getaffinity(0)))
    sources = {
        item.field: written[item.field].source if item.field in written else "default"
        for item in SETTINGS
    }
    return Settings(**values, sources=sources, files=tuple(files))  # type: ignore[arg-type]  # the table's kinds make the fields' types


def _checked(setting: Setting, written: _Written) -> object:
    try:
        return setting.kind.check(written.value, written.folder)
    except WrongValueError as error:
        found = str(error) or _shown(setting, written.value)
        raise SettingsError(
            f"{written.source}: {setting.key!r} wants {setting.kind.wanted}, "
            f"found {found}",
            hint=f"write it like {setting.key} = {setting.example}"
            if written.at
            else f"in a file it is written {setting.key} = {setting.example}",
            origin=written.at,
        ) from error
    except ImageKitError as error:
        raise SettingsError(
            f"{written.source}: {setting.key!r}: {error.message}",
            hint=error.hint,
            origin=written.at,
        ) from error


def _shown(setting: Setting, value: object) -> str:
    # The endpoint of a remote builder may hold a password.
    return type(value).__name__ if setting.field == "remote" else repr(value)


def _from_arguments(arguments: Mapping[str, object]) -> dict[str, _Written]:
    known = tuple(item.field for item in SETTINGS)
    folder = os.getcwd()
    found = {}
    for name, value in arguments.items():
        if name not in known:
            raise SettingsError(
                f"unknown setting {name!r} in the arguments",
                hint=suggestion(name, known),
            )
        if value is not None:
            found[name] = _Written(value=value, source="argument", folder=folder)
    return found


def _from_environment(environ: Mapping[str, str]) -> dict[str, _Written]:
    settings = {item.variable: item for item in SETTINGS}
    others = tuple(name for name, _ in OTHER_VARIABLES)
    folder = os.getcwd()
    found = {}
    for name, text in environ.items():
        if not name.startswith(_PREFIX) or name.startswith(TEST_VARIABLES):
            continue
        if name in settings:
            if text.strip():
                item = settings[name]
                source = f"environment {name}"
                value = item.kind.split(text)
                found[item.field] = _Written(value=value, source=source, folder=folder)
        elif name not in others:
            raise SettingsError(
                f"unknown environment variable {name!r}",
                hint=suggestion(name, (*settings, *others), prefix=_PREFIX),
            )
    return found


def _from_file(path: Path) -> dict[str, _Written]:
    text = _read(path)
    table = _table(path, text)
    settings = {item.key: item for item in SETTINGS}
    found = {}
    for key, value in table.items():
        at = _position(path, text, key)
        if key not in settings:
            raise SettingsError(
                f"unknown setting {key!r} in {str(path)!r}",
                hint=suggestion(key, settings),
                origin=at,
            )
        found[settings[key].field] = _Written(
            value=value, source=str(path), folder=str(path.parent), at=at
        )
    return found


def _table(path: Path, text: str) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415  (only where there is a file)

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        raise SettingsError(
            f"{str(path)!r} is not TOML: {error}",
            hint="repair the file",
            origin=f"{path}:{line[1]}" if line else str(path),
        ) from error
    if path.name != _PYPROJECT:
        return document
    tool = document.get("tool", {})
    table = tool.get("imagekit", {}) if isinstance(tool, dict) else {}
    if not isinstance(table, dict):
        raise SettingsError(
            f"wanted a table [tool.imagekit] in {str(path)!r}, found {table!r}",
            hint="write [tool.imagekit] on a line of its own, the settings below it",
        )
    return table


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = "it is not UTF-8" if isinstance(error, ValueError) else error.strerror
        raise SettingsError(
            f"can't read settings from {str(path)!r}: {why}",
            hint="make the file readable, or move it away",
        ) from error


def _project_file(folder: Path) -> Path | None:
    """Return the nearest file with settings, from *folder* upward.

    Raises:
        SettingsError: a folder has two; one of them would go unnoticed.
    """
    for place in (folder, *folder.parents):
        own, shared = place / _PROJECT_FILE, place / _PYPROJECT
        has_own, has_shared = own.is_file(), _names_us(shared)
        if has_own and has_shared:
            raise SettingsError(
                f"{str(place)!r} has settings in {_PROJECT_FILE} and in {_PYPROJECT}",
                hint=f"keep them in one: move [tool.imagekit] to {_PROJECT_FILE}",
            )
        if has_own or has_shared:
            return own if has_own else shared
    return None


def _names_us(pyproject: Path) -> bool:
    """Return whether *pyproject* has our table; most have not, and are not parsed."""
    if not pyproject.is_file():
        return False
    text = _read(pyproject)
    if "imagekit" not in text or not re.search(_OUR_TABLE, text):
        return False
    return bool(_table(pyproject, text))


def _user_file(environ: Mapping[str, str]) -> Path | None:
    path = Path(_home(environ, "XDG_CONFIG_HOME", ".config")) / "config.toml"
    return path if path.is_file() else None


def _home(environ: Mapping[str, str], variable: str, default: str) -> str:
    """Return our folder in an XDG base directory; relative ones are ignored (XDG)."""
    place = environ.get(variable, "")
    if not os.path.isabs(place):
        home = environ.get("HOME") or os.path.expanduser("~")
        place = os.path.join(home, default)
    return os.path.join(place, "imagekit")


def _processors() -> int:
    return max(2, min(16, len(os.sched_getaffinity(0))))


def _position(path: Path, text: str, key: str) -> str:
    """Return ``file:line`` of *key*: the first line that looks like it."""
    begin = max(text.find("[tool.imagekit"), 0) if path.name == _PYPROJECT else 0
    name = rf"['\"]?{re.escape(key)}['\"]?"
    line = rf"^[ \t]*(?:{name}[ \t]*[=.]|\[(?:tool\.imagekit\.)?{name})"
    found = re.compile(line, re.MULTILINE).search(text, begin)
    return f"{path}:{text.count(chr(10), 0, found.start()) + 1}" if found else str(path)
