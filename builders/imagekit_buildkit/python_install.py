"""Python distributions: made in stages of their own, and copied from there.

A stage starts from the base, so apt packages and commands that change leave it as it
is, and it runs beside them. Nothing but the environment is copied out of it: no mount
point, cache or log can be left in the image.

uv installs, and decides nothing: the versions and hashes are the plan's, and the
wheels are files. A builder puts them into the context, where they come from the store,
verified, and fetched with the host's logins; no index, login or certificate is needed
inside. A Dockerfile that has to stand alone has ``ADD --checksum`` in place of that.
uv itself is one of the wheels, and is in no layer.
"""

from __future__ import annotations

import shlex

from imagekit.base_paths import Links
from imagekit.errors import UnsupportedLayerError
from imagekit.oci.config import read_config
from imagekit.plan import BaseImage, CreateVenv, Distribution, InstallDistributions
from imagekit_buildkit.context import folder_name
from imagekit_buildkit.dockerfile_text import Lines
from imagekit_buildkit.environment_folder import venv_entries, venv_script
from imagekit_buildkit.install_order import Install
from imagekit_buildkit.installed_records import SCRIPT, SCRIPT_PATH
from imagekit_buildkit.quoting import mount, paths, run
from imagekit_buildkit.recipe import BASE, ContextEntry
from imagekit_buildkit.wheel_files import WHEELS, WheelFiles, copied_text

_UV = "/imagekit/uv"
_ROOT = "USER 0"


class PythonStages:
    """The stages that an image's environment comes from.

    Args:
        base: the base, which has the interpreter.
        installer: uv's wheel; None where nothing is installed.
        created: time stamp of what is installed, in seconds since the epoch.
        standalone: whether the Dockerfile needs no context where that can be.
        shell: whether the shell of the base is ``/bin/sh -c``.
    """

    def __init__(
        self,
        base: BaseImage,
        installer: Distribution | None,
        *,
        created: int,
        standalone: bool,
        shell: bool,
    ) -> None:
        self._created = created
        self._folder = folder_name("venv", created)
        self._links = Links(base.links)
        variables = [name for name, _ in read_config(base.config).env]
        self._unset = [name for name in variables if name.startswith("UV_")]
        self._installer = installer
        self._python: str | None = None
        self._standalone = standalone
        self._shell = shell
        self._stages = Lines()
        self._wheels = WheelFiles(standalone=standalone)
        self._venv: list[ContextEntry] = []

    @property
    def entries(self) -> tuple[ContextEntry, ...]:
        """The files that the stages need in the context."""
        return (*self._venv, *self._wheels.entries)

    def make_venv(self, step: CreateVenv, image: Lines) -> None:
        """Make the environment, without anything in it, and copy it to the image."""
        title = f"virtual environment {step.prefix}"
        if self._standalone:
            script = run(venv_script(step), shell=self._shell)
            self._stages.gap()
            self._stages.add(f"FROM {BASE} AS venv", title)
            self._stages.add(_ROOT, title)
            self._stages.add(script, title, command="ln -s", origin=step.origin)
        else:
            self._venv += venv_entries(step, self._folder)
        image.add(self._copied_venv(step.prefix), title, origin=step.origin)

    def install(
        self, step: InstallDistributions, install: Install, image: Lines
    ) -> None:
        """Install what *install* says, and copy it to the image.

        Raises:
            UnsupportedLayerError: the plan has no uv.
        """
        if install.replaced:
            self._need_uv(step)
            self._remove(step, install.replaced, image)
        if not install.distributions:
            return
        self._need_uv(step)
        self._wheels.add_install(install)
        folder, stage = str(install.number), f"python-{install.number}"
        title = ", ".join(
            f"{item.name} {item.version}" for item in install.distributions
        )
        self._stages.gap()
        self._stages.add(f"FROM uv AS {stage}", title)
        self._stages.add(self._copied_venv(step.prefix), title, origin=step.origin)
        self._stages.add(
            run(self._script(step), [self._wheels.mount(folder)], shell=self._shell),
            title,
            command=f"uv pip install --requirements wheels/{folder}/requirements.txt",
            origin=step.origin,
        )
        root = self._root(step.prefix)
        copied = f"COPY --link --from={stage} {paths(root, root)}"
        image.add(copied, title, origin=step.origin)

    def lines(self) -> Lines:
        """Return the stages, in an order in which they know each other."""
        found = Lines()
        if self._python is not None:
            self._add_uv(found, self._python)
        if self._stages.instructions:
            found.gap()
        found.extend(self._stages)
        return found

    def _add_uv(self, lines: Lines, python: str) -> None:
        assert self._installer is not None
        self._wheels.add("uv", (self._installer,))
        self._wheels.add_stages(lines)
        title = f"uv {self._installer.version}"
        wheel = shlex.quote(f"{WHEELS}/{self._installer.filename}")
        script = (
            f"set -eu\n{shlex.quote(python)} -I -B -m zipfile -e {wheel} {_UV}\n"
            f"chmod 0755 {self._program(_UV)}\n"
        )
        lines.gap()
        lines.add(f"FROM {BASE} AS uv", title)
        lines.add(_ROOT, title)
        lines.add(copied_text(SCRIPT, SCRIPT_PATH), title)
        lines.add(
            run(script, [self._wheels.mount("uv")], shell=self._shell),
            title,
            command=f"python -m zipfile -e {self._installer.filename}",
        )

    def _need_uv(self, step: InstallDistributions) -> None:
        if self._installer is None:
            raise UnsupportedLayerError(
                "the plan does not say which uv installs its distributions",
                hint="plan it for a builder that installs inside the image",
                origin=str(step.origin) if step.origin else None,
            )
        self._python = step.interpreter.path

    def _copied_venv(self, prefix: str) -> str:
        root = self._root(prefix)
        if self._standalone:
            return f"COPY --link --from=venv {paths(root, root)}"
        return f"COPY --link {paths(f'{self._folder}/', root)}"

    def _root(self, prefix: str) -> str:
        # A linked copy replaces links of the base, where others follow them.
        return f"/{self._links.folder(prefix)}/"

    def _remove(
        self, step: InstallDistributions, names: tuple[str, ...], image: Lines
    ) -> None:
        target = f"/run{_UV}"
        words = " ".join(map(shlex.quote, names))
        script = (
            f"set -eu\n{self._uv(target)} pip uninstall {self._on(step)} \\\n"
            f"    --no-config --no-cache --no-progress {words}\n"
            f"rm -f {shlex.quote(f'{step.prefix}/.lock')}\n"
        )
        mounted = mount("bind", **{"from": "uv", "source": _UV, "target": target})
        image.add(
            run(script, [mounted], shell=self._shell),
            f"without {', '.join(names)}",
            command=f"uv pip uninstall {words}",
            origin=step.origin,
        )

    def _script(self, step: InstallDistributions) -> str:
        return (
            "set -eu\n"
            f"{self._uv(_UV)} pip install {self._on(step)} \\\n"
            f"    --no-index --find-links {WHEELS} \\\n"
            "    --no-deps --require-hashes --no-config --no-cache --no-progress \\\n"
            "    --no-compile-bytecode --link-mode hardlink \\\n"
            f"    --requirements {WHEELS}/requirements.txt\n"
            f"{shlex.quote(step.interpreter.path)} -I -B {SCRIPT_PATH} "
            f"{shlex.quote(step.prefix)} {WHEELS}/records.json {self._created}\n"
        )

    def _on(self, step: InstallDistributions) -> str:
        return f"--python {shlex.quote(f'{step.prefix}/bin/python')}"

    def _program(self, folder: str) -> str:
        assert self._installer is not None
        name, version = self._installer.filename.split("-")[:2]
        return shlex.quote(f"{folder}/{name}-{version}.data/scripts/uv")

    def _uv(self, folder: str) -> str:
        """Return the start of a command: uv, without what the base tells it."""
        unset = " ".join(f"-u {shlex.quote(name)}" for name in self._unset)
        return f"{'env ' + unset + ' ' if unset else ''}{self._program(folder)}"
