"""``init()``: what holds for all runs and deploys of this process."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from imagekit.errors import SettingsError
from imagekit.records import dataclass, field
from imagekit.settings import Settings, load_settings

__all__ = ["Configuration", "configuration", "init", "init_from_config"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What ``init()`` was given; ``None`` is what nobody has given.

    Attributes:
        root_dir: the folder that code bundles are of.
        builder: name of the builder of images.
        values: settings, by the names of their attributes, before all files and
            variables.
        settings_file: file with settings, in place of the project's.
        remote: connection of other services, which imagekit has no use for itself; it
            is kept for builders and plugins.
    """

    org: str | None = None
    project: str | None = None
    domain: str | None = None
    root_dir: Path | None = None
    log_level: int | None = None
    storage: Any = None
    batch_size: int = 1000
    builder: str | None = None
    values: tuple[tuple[str, object], ...] = ()
    settings_file: Path | None = None
    remote: tuple[tuple[str, Any], ...] = field(default=(), compare=False)

    def settings(self, **arguments: object) -> Settings:
        """Return the settings that hold, *arguments* before all else."""
        given = {"builder": self.builder, **dict(self.values), **arguments}
        start = self.settings_file.parent if self.settings_file else None
        return load_settings(start=start, arguments=given)


_NOTHING = Configuration()
_current: list[Configuration] = []


def configuration() -> Configuration:
    """Return what the last ``init()`` was given; nothing, if there was none."""
    return _current[-1] if _current else _NOTHING


class _Init:
    """``init()``, and ``await init.aio()`` for those who expect it."""

    def __call__(
        self,
        org: str | None = None,
        project: str | None = None,
        domain: str | None = None,
        root_dir: Path | None = None,
        log_level: int | None = None,
        endpoint: str | None = None,
        headless: bool = False,
        insecure: bool = False,
        insecure_skip_verify: bool = False,
        ca_cert_file_path: str | None = None,
        auth_type: str = "Pkce",
        command: Sequence[str] | None = None,
        proxy_command: Sequence[str] | None = None,
        api_key: str | None = None,
        client_id: str | None = None,
        client_credentials_secret: str | None = None,
        auth_client_config: Any = None,
        rpc_retries: int = 3,
        http_proxy_url: str | None = None,
        storage: Any = None,
        batch_size: int = 1000,
        image_builder: str | None = None,
        *,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        """Set what holds for all runs and deploys of this process.

        Nothing has to be set: each value has a setting or a default. The parameters
        of a connection to a Flyte service are accepted, and have no effect: there is
        no service.

        Args:
            org: names the organization in task contexts and deployments.
            project: likewise the project; on Kubernetes, part of the namespace.
            domain: likewise the domain.
            root_dir: the folder that code bundles are of.
            log_level: level of the ``imagekit`` logger.
            endpoint: of a Flyte service; no effect, like all down to *http_proxy_url*.
            headless: no effect.
            insecure: no effect.
            insecure_skip_verify: no effect.
            ca_cert_file_path: no effect.
            auth_type: no effect.
            command: no effect.
            proxy_command: no effect.
            api_key: no effect, and not kept.
            client_id: no effect.
            client_credentials_secret: no effect, and not kept.
            auth_client_config: no effect.
            rpc_retries: no effect.
            http_proxy_url: no effect.
            storage: where large inputs and outputs go.
            batch_size: kept for plugins.
            image_builder: name of the builder; ``local`` is ``auto``.
            settings: settings by name, such as ``{"mode": "container"}``; they come
                before the environment and all files.

        Raises:
            SettingsError: a value can't mean anything.
        """
        if root_dir is not None:
            root_dir = Path(os.path.abspath(root_dir))
            if not root_dir.is_dir():
                raise SettingsError(
                    f"wanted root_dir to be a folder, found {str(root_dir)!r}",
                    hint="name the folder of your code",
                )
        remote = {
            "endpoint": endpoint,
            "headless": headless,
            "insecure": insecure,
            "insecure_skip_verify": insecure_skip_verify,
            "ca_cert_file_path": ca_cert_file_path,
            "auth_type": auth_type,
            "command": command,
            "proxy_command": proxy_command,
            "client_id": client_id,
            "auth_client_config": auth_client_config,
            "rpc_retries": rpc_retries,
            "http_proxy_url": http_proxy_url,
        }
        # What would be secrets is not kept: nobody needs it.
        del api_key, client_credentials_secret
        found = Configuration(
            org=org,
            project=project,
            domain=domain,
            root_dir=root_dir,
            log_level=log_level,
            storage=storage,
            batch_size=batch_size,
            builder="auto" if image_builder == "local" else image_builder,
            values=tuple((settings or {}).items()),
            remote=tuple(remote.items()),
        )
        if settings:
            found.settings()  # a wrong one is an error now
        _set(found)

    async def aio(self, *args: Any, **kwargs: Any) -> None:
        """Do the same; it never waits for anything."""
        self(*args, **kwargs)


class _InitFromConfig:
    """``init_from_config()``, and ``await init_from_config.aio()``."""

    def __call__(
        self,
        path_or_config: str | Path | Configuration | None = None,
        root_dir: Path | None = None,
        log_level: int | None = None,
    ) -> None:
        """Set what a file with settings, or a :class:`Configuration`, says.

        Args:
            path_or_config: an ``imagekit.toml`` or ``pyproject.toml``; by default the
                nearest one from the working directory upward.
            root_dir: the folder that code bundles are of.
            log_level: level of the ``imagekit`` logger.

        Raises:
            SettingsError: there is no such file, or it is wrong.
        """
        if isinstance(path_or_config, Configuration):
            _set(path_or_config)
            return
        file = None
        if path_or_config is not None:
            file = Path(os.path.abspath(path_or_config))
            if not file.is_file():
                raise SettingsError(
                    f"no file {str(file)!r}",
                    hint="give the path of an imagekit.toml or pyproject.toml",
                )
            if file.name not in ("imagekit.toml", "pyproject.toml"):
                raise SettingsError(
                    "wanted an imagekit.toml or pyproject.toml, found "
                    f"{str(path_or_config)!r}",
                    hint="a configuration of Flyte names its service, which imagekit "
                    "does without; 'imagekit config' shows the settings that there are",
                )
        found = Configuration(
            root_dir=root_dir and Path(os.path.abspath(root_dir)),
            log_level=log_level,
            settings_file=file,
        )
        found.settings()  # a wrong file is an error now
        _set(found)

    async def aio(self, *args: Any, **kwargs: Any) -> None:
        """Do the same; it never waits for anything."""
        self(*args, **kwargs)


def _set(found: Configuration) -> None:
    if found.log_level is not None:
        import logging  # noqa: PLC0415  (only where a level is set)

        logging.getLogger("imagekit").setLevel(found.log_level)
    _current[:] = [found]


init = _Init()
init_from_config = _InitFromConfig()
