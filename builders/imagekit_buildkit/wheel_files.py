"""The wheels that are installed: files of the context, or fetched by BuildKit."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from imagekit.plan import Distribution
from imagekit_buildkit.dockerfile_text import Lines
from imagekit_buildkit.install_order import Install
from imagekit_buildkit.installed_records import records
from imagekit_buildkit.quoting import heredoc, mount, paths, word
from imagekit_buildkit.recipe import ContextEntry, TextEntry, WheelEntry

#: Where they are while they are installed.
WHEELS = "/mnt/wheels"

# Each ADD is a layer of its stage, and engines stack no more than some 120.
_ADDS = 100


class WheelFiles:
    """The folders of wheels, one a step.

    Args:
        standalone: whether the Dockerfile fetches wheels from where they are published.
            What is published nowhere comes from the context even so.

    Attributes:
        entries: the files that the context has to have.
    """

    def __init__(self, *, standalone: bool) -> None:
        self.entries: list[ContextEntry] = []
        self._standalone = standalone
        self._wheels: list[tuple[str, Distribution]] = []
        self._texts: list[tuple[str, str]] = []

    def add(self, folder: str, distributions: tuple[Distribution, ...]) -> None:
        """Have the wheels of *distributions* in *folder*."""
        for item in distributions:
            path = f"wheels/{folder}/{item.filename}"
            if self._standalone:
                self._wheels.append((path, item))
            if not self._standalone or _published(item) is None:
                self.entries.append(WheelEntry(path=path, distribution=item))

    def add_install(self, install: Install) -> None:
        """Have the wheels of *install*, and what is said about them."""
        folder = str(install.number)
        self.add(folder, install.distributions)
        lines = (
            f"{item.name}=={item.version} --hash=sha256:{item.sha256}\n"
            for item in install.distributions
        )
        self._add_text(f"wheels/{folder}/requirements.txt", "".join(lines))
        self._add_text(f"wheels/{folder}/records.json", records(install.distributions))

    def mount(self, folder: str) -> str:
        """Return the mount of *folder* at ``WHEELS``."""
        options = {"source": f"wheels/{folder}", "target": WHEELS}
        if self._standalone:
            options = {"from": "wheels", **options}
        return mount("bind", **options)

    def add_stages(self, lines: Lines) -> None:
        """Add the stages that fetch, if any do."""
        if not self._standalone:
            return
        title = "wheels"
        parts = [
            self._wheels[start : start + _ADDS]
            for start in range(0, len(self._wheels), _ADDS)
        ]
        names = [f"wheels-{number}" for number in range(1, len(parts))]
        for name, part in zip([*names, "wheels"], parts, strict=True):
            lines.gap()
            lines.add(f"FROM scratch AS {name}", title)
            for path, item in part:
                lines.add(_added(path, item), f"{item.name} {item.version}")
        for name in names:
            lines.add(f"COPY --link --from={name} /wheels/ /wheels/", title)
        for path, text in self._texts:
            lines.add(copied_text(text, f"/{path}"), title)

    def _add_text(self, path: str, text: str) -> None:
        if self._standalone:
            self._texts.append((path, text))
        else:
            self.entries.append(TextEntry(path=path, content=text.encode()))


def copied_text(text: str, path: str) -> str:
    """Return the ``COPY`` that writes *text*, whole lines, to *path*."""
    start, _, rest = heredoc(text).partition("\n")
    return f"COPY {start} {word(path)}\n{rest}"


def _added(path: str, item: Distribution) -> str:
    url = _published(item)
    if url is None:
        return f"COPY --link {paths(path, f'/{path}')}"
    return f"ADD --link --checksum=sha256:{item.sha256} {paths(url, f'/{path}')}"


def _published(item: Distribution) -> str | None:
    """Return where anybody can fetch the wheel, without what may be secret in it."""
    if item.url is None:
        return None
    parts = urlsplit(item.url)
    if parts.scheme not in ("http", "https"):
        return None
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
