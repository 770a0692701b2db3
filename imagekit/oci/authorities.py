"""Where this machine keeps the certificate authorities that it trusts."""

from __future__ import annotations

import os

#: Of Debian and its kin, Fedora and its kin, Alpine, SUSE.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
)


def host_authorities() -> str | None:
    """Return the file with them: ``SSL_CERT_FILE``, else the system's bundle."""
    places = (os.environ.get("SSL_CERT_FILE"), *_BUNDLES)
    return next((path for path in places if path and os.path.isfile(path)), None)
