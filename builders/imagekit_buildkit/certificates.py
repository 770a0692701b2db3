"""The host's certificate authorities in steps that download.

They are mounted for one command only. The variables that name the file are build
arguments without a default: a build that has no such file leaves them unset, and none
of them gets into the image's config.
"""

from __future__ import annotations

from imagekit_buildkit.quoting import mount
from imagekit_buildkit.recipe import CA_SECRET

#: Where the file is while a command runs.
CA_PATH = "/run/imagekit/ca.crt"

#: Variables by which programs find it: OpenSSL and uv, requests, curl, Node.js, git,
#: pip, Cargo, the AWS tools. A builder that gives the secret sets them to ``CA_PATH``.
CA_VARIABLES = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
)


def ca_arguments() -> str:
    """Return the ``ARG`` that stands before the first command that downloads."""
    return " ".join(["ARG", *CA_VARIABLES])


def ca_mount() -> str:
    """Return the mount; programs that give up being root can read the file too."""
    return mount("secret", id=CA_SECRET, target=CA_PATH, mode="0444")
