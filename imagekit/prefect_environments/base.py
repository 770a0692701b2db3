"""What the environments have in common."""

from __future__ import annotations

from typing import Any

from imagekit.secret import SecretRequest, secrets_from_request


class Environment:
    """Base class of environments.

    Args:
        secrets: names of the secrets that what runs in the environment is given.

    Attributes:
        secrets: the secrets; their values are looked up where they are used.
    """

    def __init__(self, secrets: SecretRequest | None = None) -> None:
        self.secrets = secrets_from_request(secrets)

    def build(self, *_args: Any) -> Any:
        """Build the environment; each kind of environment does it in its own way.

        Raises:
            NotImplementedError: this is the base class, which has nothing to build.
        """
        raise NotImplementedError(
            f"{type(self).__qualname__} says not how it is built; use "
            "ContainerEnvironment or PickleEnvironment, or define build()"
        )
