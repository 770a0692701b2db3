"""Environments of the first Prefect: containers, and pickled flows.

``docs/prefect.md`` shows how they are used, and says what a pickle can do.
"""

from __future__ import annotations

from imagekit.prefect_environments.base import Environment
from imagekit.prefect_environments.container_environment import ContainerEnvironment
from imagekit.prefect_environments.pickle_environment import (
    Flow,
    PickleEnvironment,
    PickleRefusedError,
)

__all__ = [
    "ContainerEnvironment",
    "Environment",
    "Flow",
    "PickleEnvironment",
    "PickleRefusedError",
]
