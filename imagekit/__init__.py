"""A few lines of Python, turned into a container image.

The map: :mod:`imagekit.image` defines images as values, :mod:`imagekit.contents` reads
the files that they name, :mod:`imagekit.resolve` pins everything into a
:mod:`imagekit.plan`, a builder (:mod:`imagekit.builder`) makes it real, and
:mod:`imagekit.building` ties these together. :mod:`imagekit.task_environment` defines
tasks that run in images, and :mod:`imagekit.run` runs them. Names are loaded on first
use, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagekit import errors as errors
    from imagekit import io as io
    from imagekit import report as report
    from imagekit import task_errors as task_errors
    from imagekit.attaching import remote_run
    from imagekit.build_images import build_images
    from imagekit.building import BuildResult, build
    from imagekit.context import ctx
    from imagekit.deploy import deploy
    from imagekit.environment import Environment
    from imagekit.image import Image
    from imagekit.initialization import init, init_from_config
    from imagekit.mapping import map  # noqa: A004  (the reference's name)
    from imagekit.platform import Architecture
    from imagekit.pod_template import PodTemplate
    from imagekit.resources import GPU, TPU, Device, Resources
    from imagekit.retry_strategy import RetryStrategy
    from imagekit.reuse_policy import ReusePolicy
    from imagekit.run import run, with_runcontext
    from imagekit.secret import Secret, SecretRequest
    from imagekit.task import AsyncFunctionTaskTemplate, Documentation, TaskTemplate
    from imagekit.task_cache import Cache, CachePolicy, CacheRequest, VersionParameters
    from imagekit.task_environment import TaskEnvironment
    from imagekit.timeout import Timeout, TimeoutType
    from imagekit.tracing import group, trace

__version__ = "0.1.0"

__all__ = [
    "GPU",
    "TPU",
    "Architecture",
    "AsyncFunctionTaskTemplate",
    "BuildResult",
    "Cache",
    "CachePolicy",
    "CacheRequest",
    "Device",
    "Documentation",
    "Environment",
    "Image",
    "PodTemplate",
    "Resources",
    "RetryStrategy",
    "ReusePolicy",
    "Secret",
    "SecretRequest",
    "TaskEnvironment",
    "TaskTemplate",
    "Timeout",
    "TimeoutType",
    "VersionParameters",
    "__version__",
    "build",
    "build_images",
    "ctx",
    "deploy",
    "group",
    "init",
    "init_from_config",
    "map",
    "remote_run",
    "run",
    "trace",
    "with_runcontext",
]

_HOMES = {
    "GPU": "imagekit.resources",
    "TPU": "imagekit.resources",
    "Architecture": "imagekit.platform",
    "AsyncFunctionTaskTemplate": "imagekit.task",
    "BuildResult": "imagekit.building",
    "Cache": "imagekit.task_cache",
    "CachePolicy": "imagekit.task_cache",
    "CacheRequest": "imagekit.task_cache",
    "Device": "imagekit.resources",
    "Documentation": "imagekit.task",
    "Environment": "imagekit.environment",
    "Image": "imagekit.image",
    "PodTemplate": "imagekit.pod_template",
    "Resources": "imagekit.resources",
    "RetryStrategy": "imagekit.retry_strategy",
    "ReusePolicy": "imagekit.reuse_policy",
    "Secret": "imagekit.secret",
    "SecretRequest": "imagekit.secret",
    "TaskEnvironment": "imagekit.task_environment",
    "TaskTemplate": "imagekit.task",
    "Timeout": "imagekit.timeout",
    "TimeoutType": "imagekit.timeout",
    "VersionParameters": "imagekit.task_cache",
    "build": "imagekit.building",
    "build_images": "imagekit.build_images",
    "ctx": "imagekit.context",
    "deploy": "imagekit.deploy",
    "group": "imagekit.tracing",
    "init": "imagekit.initialization",
    "init_from_config": "imagekit.initialization",
    "map": "imagekit.mapping",
    "remote_run": "imagekit.attaching",
    "run": "imagekit.run",
    "trace": "imagekit.tracing",
    "with_runcontext": "imagekit.run",
}
#: Modules of which users write ``imagekit.report.log()``, having imported the package.
_MODULES = ("errors", "io", "report", "task_errors")


if not TYPE_CHECKING:  # or checkers would take every name for Any

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(_HOMES[name]), name)
        globals()[name] = value
        return value


class _Package(ModuleType):
    """This package: ``imagekit.run`` is the function, whatever was imported before.

    Importing a module makes it an attribute of its package, and some modules have the
    name of the public function in them.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
