"""Flows as encrypted pickles."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from imagekit.errors import DefinitionError
from imagekit.prefect_environments.base import Environment
from imagekit.task_errors import InitializationError, RuntimeUserError

if TYPE_CHECKING:
    from cryptography.fernet import Fernet


@runtime_checkable
class Flow(Protocol):
    """What can be pickled and run: anything with these three."""

    name: str

    def serialize(self) -> dict[str, Any]:
        """Return what is known of the flow, as a JSON document."""

    def run(self) -> Any:
        """Run the flow."""


class PickleRefusedError(RuntimeUserError):
    """A pickle was not made with this environment's key, or was changed since."""


class PickleEnvironment(Environment):
    """Pickles flows, and encrypts them.

    Unpickling runs code that whoever made the pickle has chosen: it can do everything
    that this process can. So nothing is unpickled before the key has shown that the
    bytes are what somebody who has the key made. Whoever has the key can run code here:
    keep it as you keep a password, and take none from a stranger.

    A pickle holds the flow's code only as far as it was defined in the program itself;
    modules that it imports have to be there where it is unpickled.

    Args:
        encryption_key: a key as Fernet has it, 32 bytes in URL-safe base64; one is
            made where none is given.

    Attributes:
        encryption_key: the key; what was built can't be read without it.

    Raises:
        DefinitionError: *encryption_key* is no key.
        InitializationError: the packages that it takes are not installed.
    """

    def __init__(self, encryption_key: bytes | str | None = None) -> None:
        super().__init__()
        self._pickle: bytes | None = None
        if encryption_key is None:
            encryption_key = _fernet().generate_key()
        elif isinstance(encryption_key, str):
            encryption_key = encryption_key.encode()
        self.encryption_key: bytes = encryption_key
        try:
            self._cipher = _fernet()(encryption_key)
        except (ValueError, TypeError) as error:
            # What was found is not said: it may be a key, but for a letter.
            raise DefinitionError(
                "wanted an encryption key of 32 bytes in URL-safe base64",
                hint="make one with cryptography.fernet.Fernet.generate_key()",
            ) from error

    def build(self, flow: Flow) -> bytes:
        """Return *flow* as an encrypted pickle.

        Raises:
            TypeError: it is no flow, or can't be pickled.
            InitializationError: a package that it takes is not installed.
        """
        _check(flow)
        cloudpickle = _cloudpickle()
        try:
            data = cloudpickle.dumps(flow)
        except Exception as error:  # whatever the objects in it raise
            raise TypeError(f"can't pickle the flow {flow.name!r}: {error}") from error
        self._pickle = self._cipher.encrypt(data)
        return self._pickle

    def info(self, pickle: bytes) -> dict[str, Any]:
        """Return what the pickled flow says of itself.

        This unpickles it; see the class for what that means.

        Raises:
            PickleRefusedError: it was not made with this key, or was changed since;
                nothing of it has been unpickled.
            TypeError: it holds no flow.
        """
        flow = self._load(pickle)
        self._pickle = pickle
        found: object = flow.serialize()
        if not isinstance(found, dict):
            raise TypeError(
                f"wanted a dict from serialize() of the flow {flow.name!r}, found "
                f"{type(found).__name__}"
            )
        return found

    def run(self) -> Any:
        """Run the flow that was built or looked at last, and return what it returns.

        It is unpickled anew, so that each run begins with the flow as it was built.

        Raises:
            RuntimeUserError: there is no flow yet.
        """
        if self._pickle is None:
            raise RuntimeUserError(
                "wanted a flow to run, found none",
                hint="call build(flow), or info(pickle), before run()",
            )
        return self._load(self._pickle).run()

    def _load(self, pickle: bytes) -> Flow:
        from cryptography.fernet import InvalidToken  # noqa: PLC0415  (optional)

        try:
            data = self._cipher.decrypt(pickle)
        except (InvalidToken, TypeError) as error:
            raise PickleRefusedError(
                "refused to unpickle what was not encrypted with this key, or was "
                "changed since",
                hint="use the encryption_key of the environment that built it",
            ) from error
        return _check(_cloudpickle().loads(data))


def _check(value: object) -> Flow:
    if not isinstance(value, Flow) or isinstance(value, type):
        raise TypeError(
            "wanted a flow, with a name, serialize() and run(), found "
            f"{type(value).__name__}: {value!r}"
        )
    return value


def _fernet() -> type[Fernet]:
    try:
        from cryptography.fernet import Fernet  # noqa: PLC0415  (optional)
    except ImportError as error:
        raise _missing("cryptography") from error
    return Fernet


def _cloudpickle() -> Any:
    try:
        return import_module("cloudpickle")  # it has no types
    except ImportError as error:
        raise _missing("cloudpickle") from error


def _missing(package: str) -> InitializationError:
    return InitializationError(
        f"PickleEnvironment wants the package {package!r}, which is not installed",
        hint="pip install 'imagekit[pickle]'",
    )
