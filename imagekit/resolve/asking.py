"""Questions put to uv for one or several layers, and its answers as pins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagekit.records import dataclass
from imagekit.resolve.credentials import Credentials
from imagekit.resolve.indexes import Indexes, UserSettings, index_variables
from imagekit.resolve.pins import Pin
from imagekit.resolve.project_lock import export_lock
from imagekit.resolve.pylock import Selection, pins_from_lock
from imagekit.resolve.target import Target
from imagekit.resolve.uv import Question, Uv, UvError
from imagekit.resolve.wanted import Wanted, merged_options

if TYPE_CHECKING:
    from imagekit.python_inputs.requirements_file import RequirementLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Asks uv for one target.

    Attributes:
        wanted: all layers, in order.
        settings: what the user's configuration says, a layer each.
        environ: the environment for uv.
        tree_digest: gives the digest of a local project.
        refresh: whether uv asks the index again for what it knows.
    """

    wanted: tuple[Wanted, ...]
    settings: tuple[UserSettings, ...]
    target: Target
    uv: Uv
    credentials: Credentials
    environ: Mapping[str, str]
    tree_digest: Callable[[str], str]
    refresh: bool = False

    def ask(
        self,
        number: int,
        together: tuple[Wanted, ...],
        *,
        only: Iterable[RequirementLine] | None = None,
        constraints: Iterable[str] = (),
        preferences: Mapping[str, str] | None = None,
    ) -> dict[str, Pin]:
        """Return pins for the requirements of the layers *together*.

        Args:
            number: the last of these layers.
            together: the layers.
            only: requirements that are asked for instead of all.
            constraints: lines that every pin has to meet.
            preferences: versions that are kept where they can be.

        Raises:
            UvError: there is no answer, or uv failed.
        """
        wanted = self.wanted[number]
        indexes = Indexes()
        for item in together:
            indexes = indexes.joined(item.indexes)
        whole = () if only is not None else together
        lines = [line for item in whole for line in item.lines]
        lines += only or ()
        sources = [path for item in whole for path in item.sources]
        documents = [item.document for item in whole if item.document]
        if not lines and not sources and not documents:
            return {}
        limits = [text for item in together for text in item.constraints]
        question = Question(
            requirements=[line.text for line in lines],
            sources=sources,
            documents=documents,
            constraints=[*constraints, *limits],
            overrides=[text for item in together for text in item.overrides],
            preferences=preferences or {},
            options=self._options(together, no_deps=wanted.args.no_deps),
            find_links=indexes.find_links,
            environ=self._variables(number, indexes),
            folder=wanted.folder,
        )
        lock, folder = self._compiled(question)
        return pins_from_lock(lock, self._selection(together, folder))

    def locked(self, number: int) -> dict[str, Pin]:
        """Return the pins in the lock of a project."""
        wanted = self.wanted[number]
        lock, folder = export_lock(
            wanted,
            self.target,
            self.uv,
            environ=self._variables(number, Indexes()),
            hide=self.credentials.hide,
        )
        return pins_from_lock(lock, self._selection((wanted,), folder))

    def limits(self, pins: Iterable[Pin]) -> list[str]:
        """Return constraints that only *pins* meet; they may hold logins."""
        return [
            self._requirement(pin)
            for pin in sorted(pins, key=lambda pin: pin.name)
            if pin.version is not None or pin.reference is not None
        ]

    def _requirement(self, pin: Pin) -> str:
        if pin.reference is None or "://" not in pin.reference:
            return pin.requirement
        prefix = "git+" if pin.reference.startswith("git+") else ""
        url = self.credentials.with_login(pin.reference.removeprefix("git+"))
        return f"{pin.name} @ {prefix}{url}"

    def _options(
        self, together: tuple[Wanted, ...], *, no_deps: bool
    ) -> tuple[str, ...]:
        options = merged_options(word for item in together for word in item.options)
        if no_deps and len(together) == 1:
            options += ("--no-deps",)
        if self.refresh and "--refresh" not in options:
            options += ("--refresh",)
        return options

    def _selection(self, together: tuple[Wanted, ...], folder: Path) -> Selection:
        hashes: dict[str, tuple[str, ...]] = {}
        for item in together:
            for name, listed in item.hashes.items():
                hashes[name] = hashes.get(name, ()) + listed
        return Selection(
            target=self.target,
            folder=folder,
            tree_digest=self.tree_digest,
            hashes=hashes,
            require_hashes=any(item.require_hashes for item in together),
            no_binary=tuple(name for item in together for name in item.args.no_binary),
        )

    def _variables(self, number: int, indexes: Indexes) -> dict[str, str]:
        secrets = {
            name: value
            for item in self.wanted[: number + 1]
            for name, value in item.variables.items()
        }
        environ = {**self.environ, **secrets}
        return index_variables(indexes, self.settings[number], environ)

    def _compiled(self, question: Question) -> tuple[dict[str, Any], Path]:
        """Let uv answer, with our own Python: the search for a better one takes long.

        The Python matters only for distributions whose metadata has to be built, and
        which may refuse ours: then uv searches after all.
        """
        import sys  # noqa: PLC0415

        try:
            return self._compiled_with(question, sys.executable)
        except UvError as error:
            same = sys.version_info[:2] == self.target.interpreter.version
            if error.is_conflict or same:
                raise
            return self._compiled_with(question, None)

    def _compiled_with(
        self, question: Question, interpreter: str | None
    ) -> tuple[dict[str, Any], Path]:
        return self.uv.compile(
            question,
            platform=self.target.uv_platform,
            python=self.target.interpreter.full_version,
            interpreter=interpreter,
            hide=self.credentials.hide,
        )
