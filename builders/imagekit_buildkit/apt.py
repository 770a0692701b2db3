"""Debian packages: the command that installs them, and nothing else."""

from __future__ import annotations

import re
import shlex

from imagekit.errors import InvalidLayerError
from imagekit.plan import InstallAptPackages
from imagekit.platform import Platform
from imagekit_buildkit.quoting import mount

#: Name (Debian policy 5.6.1), architecture, and a version or a release. No package
#: ends in "-": apt-get would take that as a wish to remove.
_PACKAGE = re.compile(
    r"[a-z0-9][a-z0-9+.-]*"
    r"(?::[a-z0-9][a-z0-9-]*)?"
    r"(?:=[A-Za-z0-9][A-Za-z0-9.+~:*-]*|/[A-Za-z0-9][A-Za-z0-9._-]*)?"
    r"(?<!-)"
)
_ARCHIVES = "/run/imagekit/archives"
_LISTS = "/var/lib/apt/lists"

# The archives lie where no "docker-clean" of a base image looks for something to
# delete. apt and dpkg write no logs; what else has times or chance in it is removed.
_SCRIPT = """\
set -eu
export DEBIAN_FRONTEND=noninteractive SOURCE_DATE_EPOCH={created}
test -s /etc/machine-id && machine=known || machine=new
set -- -o Dir::Cache::archives={archives} -o APT::Keep-Downloaded-Packages=true \\
    -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \\
    -o Dir::Log::Terminal= -o Dir::Log::History= -o Dir::Log::Planner= \\
    -o DPkg::Options::=--log=/dev/null \\
    -o APT::Update::Error-Mode=any -o Acquire::Retries=3 \\
    ${{SSL_CERT_FILE:+-o Acquire::https::CaInfo="$SSL_CERT_FILE"}}
apt-get "$@" update
{command}
rm -f /run/adduser /var/log/alternatives.log /var/cache/ldconfig/aux-cache \\
    /var/cache/debconf/*-old /var/lib/dpkg/*-old /var/lib/systemd/random-seed
if [ "$machine" = new ]; then
    rm -f /var/lib/dbus/machine-id
    test ! -e /etc/machine-id || : > /etc/machine-id
fi
"""


def check_packages(step: InstallAptPackages) -> None:
    """Check that apt-get takes each item as the name of a package to install.

    Names are Debian's, with ``:ARCHITECTURE``, and ``=VERSION`` or ``/RELEASE``, where
    wanted. apt-get also knows patterns, tasks, files and, with a ``-`` at the end,
    packages to remove: a pattern that matches too much would go unseen.

    Raises:
        InvalidLayerError: an item is something else.
    """
    for package in step.packages:
        if not _PACKAGE.fullmatch(package):
            raise InvalidLayerError(
                f"wanted a Debian package like 'curl', 'libc6:arm64', 'curl=7.88.1-10' "
                f"or 'curl/bookworm-backports', found {package!r}",
                hint="give each package as an argument of its own; for what else "
                "apt-get can do there is with_commands",
                origin=str(step.origin) if step.origin else None,
            )


def apt_command(step: InstallAptPackages) -> str:
    """Return the command that installs the packages, as people know it."""
    names = " ".join(map(shlex.quote, step.packages))
    return f"apt-get install --yes --no-install-recommends -- {names}"


def apt_script(step: InstallAptPackages, *, created: int) -> str:
    """Return the shell script that installs the packages and tidies up.

    Args:
        step: its packages are checked.
        created: time stamp for what packages make when they are set up, in seconds
            since the epoch.
    """
    command = apt_command(step).replace("apt-get", 'apt-get "$@"', 1)
    return _SCRIPT.format(created=created, archives=_ARCHIVES, command=command)


def apt_mounts(platform: Platform) -> tuple[str, ...]:
    """Return the caches of downloads; only one build at a time may use them."""
    name = f"imagekit-apt-{platform.os}-{platform.architecture}"
    return (
        mount("cache", id=f"{name}-archives", target=_ARCHIVES, sharing="locked"),
        mount("cache", id=f"{name}-lists", target=_LISTS, sharing="locked"),
    )
