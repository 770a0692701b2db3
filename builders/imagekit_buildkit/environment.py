"""The environment on its way through a Dockerfile: what is set, and when."""

from __future__ import annotations

from collections.abc import Iterable

from imagekit.errors import UnsupportedLayerError
from imagekit.origin import Origin
from imagekit_buildkit.dockerfile_text import Lines
from imagekit_buildkit.quoting import argument_pair, pair


class Environment:
    """The variables of an image, written where something sees the difference.

    Args:
        variables: those of the base.

    Attributes:
        build_args: values that the language has no form for: those with line breaks.
    """

    def __init__(self, variables: Iterable[tuple[str, str]]) -> None:
        self.build_args: dict[str, str] = {}
        self._written = dict(variables)
        self._pending: dict[str, str] = {}
        self._origin: Origin | None = None

    def set(self, variables: Iterable[tuple[str, str]], origin: Origin | None) -> None:
        """Set *variables* from here on.

        Raises:
            UnsupportedLayerError: a Dockerfile has no form for one of them.
        """
        for name, value in variables:
            if "\n" in value:
                self._check_argument(name, value)
            else:
                pair(name, value)
            self._pending[name] = value
            self._origin = origin or self._origin

    def write(self, lines: Lines) -> None:
        """Add what has changed since the last time."""
        changed = {
            name: value
            for name, value in self._pending.items()
            if self._written.get(name) != value
        }
        self._pending.clear()
        self._written.update(changed)
        plain = [item for item in changed.items() if "\n" not in item[1]]
        if plain:
            names = ", ".join(name for name, _ in plain)
            pairs = " \\\n    ".join(pair(name, value) for name, value in plain)
            lines.add(f"ENV {pairs}", f"environment {names}", origin=self._origin)
        for name, value in changed.items():
            if "\n" in value:
                self.build_args[name] = value
                lines.add(
                    argument_pair(name, value),
                    f"environment {name}",
                    origin=self._origin,
                )

    def _check_argument(self, name: str, value: str) -> None:
        """Raise UnsupportedLayerError unless a build argument can carry *value*."""
        argument_pair(name, value)
        if name in self._written or name in self._pending:
            # A variable that is set hides the argument of its name.
            raise UnsupportedLayerError(
                f"a Dockerfile has no form for a line break in a new value of {name!r}",
                hint="set the variable once only, or choose another name",
            )
