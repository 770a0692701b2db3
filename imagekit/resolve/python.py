"""Python layers to pinned wheels, for the target and never for this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from imagekit.canonical import fingerprint
from imagekit.errors import ImageKitError
from imagekit.layers import PythonLayer
from imagekit.plan import Distribution
from imagekit.progress import Note, Progress, silent
from imagekit.records import dataclass, replace
from imagekit.resolve.credentials import Credentials
from imagekit.resolve.distributions import Distributions
from imagekit.resolve.indexes import UserSettings, user_settings
from imagekit.resolve.layer_reading import read_layer
from imagekit.resolve.resolution import (
    LayerResolution,
    Lineage,
    chain_keys,
    read_resolution,
)
from imagekit.resolve.target import Target
from imagekit.resolve.tree_digests import TreeDigests
from imagekit.resolve.uv import Uv
from imagekit.resolve.wanted import Wanted
from imagekit.secret_values import secret_environment, secret_variables
from imagekit.store import Store

__all__ = ["Resolved", "Target", "credentials_for", "resolve"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What one Python layer installs.

    Attributes:
        distributions: what it adds or brings to another version, by name.
        removed: names of distributions of earlier layers that it takes away.
    """

    distributions: tuple[Distribution, ...]
    removed: tuple[str, ...] = ()


def resolve(
    layers: Sequence[PythonLayer],
    target: Target,
    *,
    lineage: str,
    store: Store,
    uv: Uv | None = None,
    upgrade: bool | tuple[str, ...] = False,
    secrets_dir: str | None = None,
    progress: Progress = silent,
) -> tuple[Resolved, ...]:
    """Pin what *layers* ask for, as one coherent environment.

    What was resolved before stays as it was; if nothing changed, uv is not called.

    Args:
        layers: the Python layers of an image, in order.
        target: what they are resolved for.
        lineage: name of the image, platform and Python, under which its last
            resolution is kept.
        store: keeps resolutions and built wheels.
        uv: what resolves; by default the uv that is installed with imagekit.
        upgrade: True to resolve everything anew, or the names that may change.
        secrets_dir: folder with secrets, as the settings name it.
        progress: receives events.

    Raises:
        ResolutionError: there is no set of distributions (ConflictError: because of
            two layers; NoWheelError: for want of a wheel).
        DefinitionError: a layer has no meaning.
        PlanError: a file or secret is missing.
        DownloadError: what has to be built could not be fetched.
    """
    digests = TreeDigests()
    environ = secret_environment(secrets_dir)
    wanted = tuple(_read(layer, digests, environ) for layer in layers)
    settings = _settings(wanted)
    wanted = tuple(map(_as_configured, wanted, settings))
    credentials = _credentials(wanted, settings)
    uv = uv or Uv(temporary=store.temporary())
    for item in wanted:
        if item.args.ignored:
            names = ", ".join(item.args.ignored)
            progress(Note(f"{names} in extra_args makes no difference to an image"))
    keys = chain_keys(wanted, target)
    history = Lineage(lineage, target, store)
    found = _known(store, keys) if not upgrade else []
    if len(found) < len(keys):
        from imagekit.resolve.asking import Asker  # noqa: PLC0415  (slow imports)
        from imagekit.resolve.coherence import Resolver  # noqa: PLC0415

        asker = Asker(
            wanted=wanted,
            settings=settings,
            target=target,
            uv=uv,
            credentials=credentials,
            environ=os.environ,
            tree_digest=digests,
            refresh=upgrade is True,
        )
        resolver = Resolver(
            asker=asker,
            previous=history.read(),
            reusable=history.is_for_target,
            upgrade=_normalized(upgrade),
        )
        resolver.finish(found, keys, store)
    history.write(keys)
    distributions = Distributions(
        target=target,
        store=store,
        uv=uv,
        wanted=wanted,
        settings=settings,
        credentials=credentials,
        progress=progress,
    )
    return tuple(
        Resolved(distributions=distributions.of(number, layer), removed=layer.removed)
        for number, layer in enumerate(found)
    )


def credentials_for(
    layers: Sequence[PythonLayer], *, secrets_dir: str | None = None
) -> Credentials:
    """Return the logins with which the wheels of *layers* are fetched.

    Args:
        layers: the Python layers of an image.
        secrets_dir: folder with secrets, as the settings name it.

    Raises:
        PlanError: a file or secret is missing.
    """
    digests = TreeDigests()
    environ = secret_environment(secrets_dir)
    wanted = tuple(_read(layer, digests, environ) for layer in layers)
    return _credentials(wanted, _settings(wanted))


def _read(
    layer: PythonLayer, digests: TreeDigests, environ: Mapping[str, str]
) -> Wanted:
    origin = str(layer.origin)
    try:
        wanted = read_layer(layer, digests)
        variables = secret_variables(layer.options.secret_mounts, environ=environ)
    except ImageKitError as error:
        raise error.at(origin) from error.__cause__
    return replace(wanted, variables=variables)


def _settings(wanted: Sequence[Wanted]) -> tuple[UserSettings, ...]:
    known: dict[str, UserSettings] = {}
    for item in wanted:
        if item.folder not in known:
            known[item.folder] = user_settings(item.folder, os.environ)
    return tuple(known[item.folder] for item in wanted)


def _as_configured(wanted: Wanted, user: UserSettings) -> Wanted:
    """Return *wanted* with what the user's configuration adds to its identity."""
    rest = fingerprint("configured-layer", (wanted.rest, user.identity))
    return replace(wanted, rest=rest)


def _credentials(
    wanted: Sequence[Wanted], settings: Sequence[UserSettings]
) -> Credentials:
    urls: list[str] = []
    named: list[tuple[str, str]] = []
    environ = dict(os.environ)
    for item, user in zip(wanted, settings, strict=True):
        urls += item.indexes.urls
        urls += [_url_in(line.text) for line in item.lines]
        urls += user.urls
        named += [
            (name, url)
            for name, joined, url in (
                extra.partition("=") for extra in item.indexes.extra
            )
            if joined and "://" not in name
        ]
        named += user.named
        environ |= item.variables
    secrets = {value for item in wanted for value in item.variables.values()}
    return Credentials(
        [url for url in urls if "://" in url],
        named=dict.fromkeys(named),
        secrets=secrets,
        environ=environ,
    )


def _url_in(requirement: str) -> str:
    """Return the URL that a requirement names, or a text that is none."""
    name, _, target = requirement.partition("@")
    url = requirement if "://" in name else target
    return url.strip().removeprefix("git+")


def _known(store: Store, keys: tuple[str, ...]) -> list[LayerResolution]:
    """Return the resolutions of the first layers, as far as the store has them."""
    found = []
    for key in keys:
        layer = read_resolution(store, key)
        if layer is None:
            break
        found.append(layer)
    return found


def _normalized(upgrade: bool | tuple[str, ...]) -> bool | tuple[str, ...]:
    if isinstance(upgrade, bool):
        return upgrade
    return tuple(name.lower().replace("_", "-").replace(".", "-") for name in upgrade)
