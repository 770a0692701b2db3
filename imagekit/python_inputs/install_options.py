"""The options of ``uv pip install`` and ``uv sync``, by what they mean for an image."""

from __future__ import annotations

SHORT = {
    "-i": "--index-url",
    "-f": "--find-links",
    "-c": "--constraint",
    "-b": "--build-constraint",
    "-C": "--config-setting",
    "-U": "--upgrade",
    "-P": "--upgrade-package",
    "-n": "--no-cache",
    "-q": "--quiet",
    "-v": "--verbose",
    "-r": "--requirement",
    "-e": "--editable",
    "-p": "--python",
}
SPELLINGS = {
    "--constraints": "--constraint",
    "--overrides": "--override",
    "--excludes": "--exclude",
    "--build-constraints": "--build-constraint",
    "--config-settings": "--config-setting",
    "--requirements": "--requirement",
    "--native-tls": "--system-certs",
    "--trusted-host": "--allow-insecure-host",
}

#: Passed on: they say what may be chosen, or how uv reaches the index.
RESOLVE_FLAGS = frozenset(
    ("--no-build", "--no-sources", "--offline", "--system-certs", "--refresh")
)
RESOLVE_VALUES = frozenset(
    (
        "--resolution",
        "--prerelease",
        "--prerelease-package",
        "--fork-strategy",
        "--exclude-newer",
        "--exclude-newer-package",
        "--index-strategy",
        "--keyring-provider",
        "--torch-backend",
        "--no-sources-package",
        "--allow-insecure-host",
        "--refresh-package",
        "--cache-dir",
    )
)
#: Name files, which become part of the image's identity.
FILES = ("--constraint", "--override", "--exclude", "--build-constraint")
INDEX_VALUES = (
    "--index-url",
    "--default-index",
    "--index",
    "--extra-index-url",
    "--find-links",
)
#: Of ``uv sync`` and ``uv export``: which part of a project is meant.
PROJECT_FLAGS = frozenset(
    (
        "--all-extras",
        "--all-groups",
        "--no-default-groups",
        "--dev",
        "--no-dev",
        "--only-dev",
        "--all-packages",
    )
)
PROJECT_VALUES = frozenset(
    (
        "--extra",
        "--no-extra",
        "--group",
        "--no-group",
        "--only-group",
        "--package",
        "--no-install-package",
    )
)
#: About installing, showing or locking: no difference here.
IGNORED_FLAGS = frozenset(
    (
        "--compile-bytecode",
        "--no-compile-bytecode",
        "--no-cache",
        "--no-cache-dir",
        "--quiet",
        "--verbose",
        "--no-progress",
        "--system",
        "--break-system-packages",
        "--no-break-system-packages",
        "--reinstall",
        "--exact",
        "--inexact",
        "--strict",
        "--active",
        "--no-active",
        "--locked",
        "--frozen",
        "--no-editable",
        "--no-install-project",
        "--no-install-workspace",
        "--verify-hashes",
        "--upgrade",
        "--no-python-downloads",
    )
)
IGNORED_VALUES = frozenset(
    ("--link-mode", "--reinstall-package", "--color", "--upgrade-package")
)
REFUSED = {
    "--requirement": "use with_requirements() for requirements files",
    "--editable": "name the project's folder as a requirement",
    "--python": "the base image decides which Python it is",
    "--python-version": "the base image decides which Python it is",
    "--python-platform": "set the platform of the image",
    "--target": "distributions are installed into the virtual environment",
    "--prefix": "distributions are installed into the virtual environment",
    "--no-build-isolation": "source distributions are built in isolation",
    "--no-verify-hashes": "remove the hashes that are wrong",
}
