"""Which package indexes a layer uses, and how uv and our own downloads are told.

The user's own configuration of uv counts. Where it names no default index, pip's
``index-url`` does (``PIP_INDEX_URL``, then pip's configuration files). pip's
``extra-index-url`` does not: pip merges indexes, uv takes the first that has a name, so
the same list would mean something else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from imagekit.records import dataclass, field
from imagekit.resolve.credentials import redact

#: Variables with which a user changes what uv resolves to.
_VARIABLES = (
    "UV_DEFAULT_INDEX",
    "UV_INDEX_URL",
    "UV_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_FIND_LINKS",
    "UV_NO_INDEX",
    "UV_INDEX_STRATEGY",
    "UV_PRERELEASE",
    "UV_RESOLUTION",
    "UV_EXCLUDE_NEWER",
    "UV_CONSTRAINT",
    "UV_OVERRIDE",
    "UV_EXCLUDE",
    "UV_BUILD_CONSTRAINT",
    "UV_NO_SOURCES",
    "UV_TORCH_BACKEND",
    "UV_FORK_STRATEGY",
)
#: Settings in uv's configuration files that do the same.
_SETTINGS = (
    "index",
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "index-strategy",
    "prerelease",
    "resolution",
    "exclude-newer",
    "exclude-newer-package",
    "constraint-dependencies",
    "override-dependencies",
    "exclude-dependencies",
    "no-build",
    "no-build-package",
    "no-binary",
    "no-binary-package",
    "no-sources",
    "dependency-metadata",
    "torch-backend",
    "fork-strategy",
)
_PIP_INDEX = re.compile(r"(?m)^\s*index[-_]url\s*[=:]\s*(\S+)\s*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexes:
    """The indexes that a layer names; URLs may hold logins.

    Attributes:
        default: replaces the default index.
        extra: asked before it, in order; ``name=URL`` names one.
        find_links: folders and pages with files.
        no_index: whether no index is asked.
    """

    default: str | None = None
    extra: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    no_index: bool = False

    @property
    def urls(self) -> tuple[str, ...]:
        """All URLs, which may hold logins."""
        named = (url_of(item) for item in self.extra)
        links = (item for item in self.find_links if "://" in item)
        default = (self.default,) if self.default else ()
        return (*default, *named, *links)

    @property
    def identity(self) -> tuple[Any, ...]:
        """The same without logins."""
        return (
            redacted(self.default),
            tuple(map(redact, self.extra)),
            tuple(map(redact, self.find_links)),
            self.no_index,
        )

    def joined(self, other: Indexes) -> Indexes:
        """Return the indexes of both, *other* coming first."""
        extra = [*other.extra, *self.extra]
        if self.default and other.default and self.default != other.default:
            extra.append(self.default)
        return Indexes(
            default=other.default or self.default,
            extra=tuple(dict.fromkeys(extra)),
            find_links=tuple(dict.fromkeys((*other.find_links, *self.find_links))),
            no_index=self.no_index and other.no_index,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UserSettings:
    """What the user's own configuration says about indexes.

    Attributes:
        identity: everything that may change a resolution, without logins.
        pip_default: pip's index, where uv has none; may hold a login.
        urls: the URLs of indexes, which may hold logins.
        named: names and URLs of indexes.
    """

    identity: tuple[tuple[str, str], ...] = ()
    pip_default: str | None = None
    urls: tuple[str, ...] = ()
    named: tuple[tuple[str, str], ...] = ()


def url_of(index: str) -> str:
    """Return the URL in ``name=URL`` or ``URL``."""
    name, joined, url = index.partition("=")
    return url if joined and "://" not in name else index


def redacted(text: str | None) -> str | None:
    """Return *text* without logins, None as None."""
    return None if text is None else redact(text)


def index_variables(
    indexes: Indexes, user: UserSettings, environ: Mapping[str, str]
) -> dict[str, str]:
    """Return *environ* with what makes uv use *indexes*.

    The environment, for a process's arguments can be read by every user of a machine.
    """
    variables = dict(environ)
    default = indexes.default or user.pip_default
    if default is not None:
        variables.pop("UV_INDEX_URL", None)
        variables["UV_DEFAULT_INDEX"] = default
    if indexes.extra:
        before = variables.get("UV_INDEX", "")
        variables["UV_INDEX"] = " ".join([*indexes.extra, *before.split()])
    if indexes.no_index:
        variables["UV_NO_INDEX"] = "1"
    return variables


def user_settings(folder: str, environ: Mapping[str, str]) -> UserSettings:
    """Read the configuration of uv and pip that holds in *folder*."""
    found = _Found()
    for name in _VARIABLES:
        if environ.get(name):
            found.identity.append((name, redact(environ[name])))
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        if environ.get(name):
            found.has_default = True
            found.add(environ[name])
    for name in ("UV_INDEX", "UV_EXTRA_INDEX_URL"):
        for item in environ.get(name, "").split():
            found.add(item)
    for path, table in _uv_tables(folder, environ):
        found.add_table(path, table)
    pip = None if found.has_default else _pip_index(environ)
    if pip is not None:
        found.identity.append(("pip index-url", redact(pip)))
        found.urls.append(pip)
    return UserSettings(
        identity=tuple(found.identity),
        pip_default=pip,
        urls=tuple(found.urls),
        named=tuple(found.named),
    )


@dataclass(slots=True)
class _Found:
    identity: list[tuple[str, str]] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)
    named: list[tuple[str, str]] = field(default_factory=list)
    has_default: bool = False

    def add(self, index: str) -> None:
        url = url_of(index)
        self.urls.append(url)
        if url != index:
            self.named.append((index.partition("=")[0], url))

    def add_table(self, path: Path, table: dict[str, Any]) -> None:
        flat = {**table.get("pip", {}), **table}
        for name in _SETTINGS:
            if name in flat:
                self.identity.append((f"{path.name} {name}", redact(str(flat[name]))))
        for url in (flat.get("index-url"), *flat.get("extra-index-url", ())):
            if isinstance(url, str):
                self.urls.append(url)
        for index in flat.get("index", ()):
            if not isinstance(index, dict) or "url" not in index:
                continue
            self.urls.append(index["url"])
            if "name" in index:
                self.named.append((index["name"], index["url"]))
            self.has_default |= bool(index.get("default"))
        self.has_default |= "index-url" in flat


def _uv_tables(
    folder: str, environ: Mapping[str, str]
) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Give uv's settings that hold in *folder*, the nearest first."""
    if environ.get("UV_NO_CONFIG"):
        return
    given = environ.get("UV_CONFIG_FILE")
    if given:
        yield from _table(Path(given))
        return
    for parent in (Path(folder), *Path(folder).parents):
        own = list(_table(parent / "uv.toml"))
        if not own:
            own = [
                (path, table["tool"]["uv"])
                for path, table in _table(parent / "pyproject.toml")
                if "uv" in table.get("tool", {})
            ]
        if own:
            yield from own
            break
    home = environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    yield from _table(Path(home) / "uv" / "uv.toml")
    yield from _table(Path("/etc/uv/uv.toml"))


def _table(path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return  # uv itself reports a file that it can't read
    import tomllib  # noqa: PLC0415  (only where there is a file)

    try:
        yield path, tomllib.loads(text)
    except ValueError:
        return  # and one that is no TOML


def _pip_index(environ: Mapping[str, str]) -> str | None:
    given = environ.get("PIP_INDEX_URL")
    if given:
        return given
    home = os.path.expanduser("~")
    config = environ.get("XDG_CONFIG_HOME") or f"{home}/.config"
    environment = environ.get("VIRTUAL_ENV")
    candidates = [
        environ.get("PIP_CONFIG_FILE"),
        f"{environment}/pip.conf" if environment else None,
        f"{config}/pip/pip.conf",
        f"{home}/.pip/pip.conf",
        "/etc/pip.conf",
    ]
    for candidate in candidates:
        if not candidate:
            continue
        try:
            text = Path(candidate).read_text(encoding="utf-8")
        except (OSError, ValueError):
            continue
        found = _PIP_INDEX.search(text)
        if found:
            return found[1]
    return None
