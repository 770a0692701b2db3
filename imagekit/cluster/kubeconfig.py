"""``client_api``: access from the client, as ``kubectl`` has it.

The official package reads kubeconfigs: several files, contexts, exec plugins, client
certificates, auth providers, proxies. Requests go through its urllib3 pool as plain
JSON (:mod:`imagekit.cluster.pooled`) and not through its models: these drop fields
that they do not know, such as those of a newer cluster in a user's pod template, and
make every object twice. It is imported when access is wanted, without those of its
parts that are not used here: its ``__init__`` imports all of them, which takes a third
of the time (100 of 350 ms).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Lock, get_ident
from types import ModuleType
from typing import Any

from imagekit.cluster.access import Api
from imagekit.cluster.in_pod import PodApi, is_pod
from imagekit.cluster.requesting import HttpApi
from imagekit.cluster.retrying import Waiting
from imagekit.records import dataclass
from imagekit.task_errors import InitializationError

#: Seconds to go on after the first fault of a request; somebody looks on.
PATIENCE = 30.0
_PACKAGE = "kubernetes"
_DEFAULT = "~/.kube/config"
#: What the package says that holds nothing of a kubeconfig. Its other messages may
#: quote a user with the token.
_SAYABLE = ("exec: process returned", "exec: failed to", "File does not exist")
_SPEAKER = "kube_config"
_LONGEST = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What a kubeconfig says of the cluster.

    Attributes:
        configuration: the official package's.
        namespace: the context's, or "default".
    """

    configuration: Any
    namespace: str

    def headers(self) -> dict[str, str]:
        """Return the credentials, renewed where they have expired."""
        with _said():  # where that fails, the old ones are refused
            settings = self.configuration.auth_settings()
        return {
            item["key"]: item["value"] for item in settings.values() if item["value"]
        }


def client_api(
    *,
    kubeconfig: str | None = None,
    context: str | None = None,
    namespace: str | None = None,
    patience: float = PATIENCE,
    waiting: Waiting | None = None,
) -> Api:
    """Return access to the cluster that a kubeconfig names.

    Args:
        kubeconfig: path of the file, or paths with colons between them; None takes
            ``KUBECONFIG``, else ``~/.kube/config``. In a pod that has none, the pod's
            service account is used.
        context: name of the context; None takes the current one.
        namespace: the default namespace; None takes the context's, else "default".
        patience: seconds to go on after the first fault of a request.
        waiting: is told why requests wait.

    Raises:
        InitializationError: there is no kubeconfig or no such context, it can't be
            used, or the official package is missing.
    """
    text = kubeconfig or os.environ.get("KUBECONFIG") or _DEFAULT
    paths = [os.path.expanduser(path) for path in text.split(os.pathsep) if path]
    there = [path for path in paths if Path(path).exists()]
    if not there:
        if kubeconfig is None and context is None and is_pod():
            return PodApi(namespace=namespace, patience=patience, waiting=waiting)
        raise InitializationError(
            f"wanted a kubeconfig, found no file {' or '.join(map(repr, paths))}",
            hint="log in to the cluster, or name the file with KUBECONFIG or "
            "IMAGEKIT_KUBECONFIG",
        )
    # Faults of the file are told before the first request.
    loaded = load(there, context)
    from imagekit.cluster.pooled import PooledSender  # noqa: PLC0415  (slow to import)

    return HttpApi(
        PooledSender(loaded, lambda: load(there, context)),
        namespace=namespace or loaded.namespace,
        patience=patience,
        waiting=waiting,
    )


def load(paths: Sequence[str], context: str | None) -> Loaded:
    """Read kubeconfigs, and run what they say gives credentials.

    Raises:
        InitializationError: they can't be used, or the official package is missing.
    """
    library = _official("config.kube_config")
    configuration = _official("client").Configuration()
    shown = " and ".join(map(repr, paths))
    with _faults(shown):
        merger = library.KubeConfigMerger(os.pathsep.join(paths))
        if not isinstance(getattr(merger.config, "value", None), dict):
            raise ValueError("no mapping")  # noqa: TRY004  (as the package's faults)
        name = _context(merger.config.value, context, shown)
        loader = library.KubeConfigLoader(
            config_dict=merger.config,
            active_context=name,
            config_base_path=None,
            config_persister=merger.save_changes,
        )
        found = loader.current_context["context"]
        with _said() as said:
            loader.load_and_set(configuration)
        user = found.get("user")
    if said:
        # The package goes on as nobody where a plugin fails.
        raise InitializationError(
            f"can't log in as {user!r} of the context {name!r}: {_sayable(said[0])}",
            hint="log in again, and try 'kubectl version'",
        )
    return Loaded(
        configuration=configuration,
        namespace=found.get("namespace") or "default",
    )


def _context(document: dict[str, Any], wanted: str | None, shown: str) -> str:
    known = sorted(str(item["name"]) for item in document["contexts"])
    names = ", ".join(map(repr, known)) or "none"
    name = wanted or document.get("current-context")
    if not name:
        raise InitializationError(
            f"wanted a current context in {shown}, found none (contexts: {names})",
            hint="kubectl config use-context NAME, or IMAGEKIT_KUBE_CONTEXT=NAME",
        )
    if name not in known:
        raise InitializationError(
            f"no context {name!r} in {shown} (contexts: {names})",
            hint="kubectl config get-contexts",
        )
    return str(name)


@contextmanager
def _faults(shown: str) -> Iterator[None]:
    """Turn whatever a file can provoke into an error that quotes nothing of it."""
    try:
        yield
    except InitializationError:
        raise
    except OSError as error:
        raise InitializationError(
            f"can't read the kubeconfig {shown}: {str(error.strerror).lower()}",
            hint="check its owner and mode, or name another one with KUBECONFIG",
        ) from error
    except Exception as error:  # noqa: BLE001  (the package checks little: a file may make it raise anything)
        raise InitializationError(
            f"can't use the kubeconfig {shown}: {_sayable(str(error))}",
            hint="try 'kubectl config view'",
        ) from None  # whose text may hold a token


def _sayable(text: str) -> str:
    known = text.startswith(_SAYABLE)
    return f"{text:.{_LONGEST}}" if known else "its content is not as it has to be"


@contextmanager
def _said() -> Iterator[list[str]]:
    """Collect the errors that the package logs, which it does in place of raising."""
    import logging  # noqa: PLC0415  (slow to import)

    found: list[str] = []

    class _Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.module == _SPEAKER and record.thread == get_ident():
                found.append(record.getMessage())

    collector = _Collector(logging.ERROR)
    # Its errors go to the root logger, by functions that would set up one without
    # handlers to write to stderr.
    root = logging.getLogger()
    root.addHandler(collector)
    try:
        yield found
    finally:
        root.removeHandler(collector)


_importing = Lock()


def _official(module: str) -> Any:
    """Import a module of the official package, and what that one needs alone.

    Raises:
        InitializationError: the package is missing.
    """
    with _importing:
        spec = find_spec(_PACKAGE)
        if spec is None or spec.submodule_search_locations is None:
            raise InitializationError(
                f"access to Kubernetes needs the package {_PACKAGE!r}",
                hint="pip install 'imagekit[kubernetes]'",
            )
        if _PACKAGE in sys.modules:
            return import_module(f"{_PACKAGE}.{module}")
        # In place of the package while it is imported. It is taken away again: who
        # imports the package later gets the real one.
        package = ModuleType(_PACKAGE)
        package.__path__ = list(spec.submodule_search_locations)
        sys.modules[_PACKAGE] = package
        try:
            return import_module(f"{_PACKAGE}.{module}")
        finally:
            if sys.modules.get(_PACKAGE) is package:
                del sys.modules[_PACKAGE]
