"""Whether a BuildKit on TCP answers, and if not, why.

buildx tries for 20 s and says "context deadline exceeded" then. One exchange of HTTP/2
settings, which every gRPC server answers at once, tells more and sooner.
"""

from __future__ import annotations

import socket
import ssl

from imagekit_buildkit.endpoint import RemoteEndpoint

# RFC 9113, 3.4 and 4.1: the preface, and an empty SETTINGS frame.
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_FRAME_HEADER = 9
_SETTINGS = 4


def unreachable(endpoint: RemoteEndpoint, *, seconds: float) -> str | None:
    """Return why *endpoint* can't be used, or None if it answers."""
    try:
        with socket.create_connection(
            (endpoint.host, endpoint.port), timeout=seconds
        ) as plain:
            if not endpoint.tls:
                return _greeted(plain)
            with _context(endpoint).wrap_socket(
                plain, server_hostname=endpoint.host
            ) as secure:
                return _greeted(secure, shown=endpoint.cert or "none")
    except ssl.SSLCertVerificationError as error:
        return (
            f"its certificate is not trusted: {error.verify_message} "
            f"(checked against {endpoint.ca or 'the certificates of the system'})"
        )
    except ssl.SSLError as error:
        return _tls_fault(endpoint, error)
    except TimeoutError:
        return f"no answer in {seconds:g} s"
    except OSError as error:
        return error.strerror or str(error)


def _context(endpoint: RemoteEndpoint) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=endpoint.ca)
    context.set_alpn_protocols(["h2"])
    if endpoint.cert is not None:
        # Asked for no password: a key that has one is an error, and no question.
        context.load_cert_chain(endpoint.cert, endpoint.key, password=lambda: b"")
    return context


def _greeted(connection: socket.socket, shown: str | None = None) -> str | None:
    """Exchange greetings.

    Args:
        connection: where to.
        shown: with TLS, the client certificate. With TLS 1.3 it is refused only now.
    """
    connection.sendall(_HELLO)
    answer = b""
    while len(answer) < _FRAME_HEADER:
        piece = connection.recv(_FRAME_HEADER - len(answer))
        if not piece:
            if shown is None:
                return "it closed the connection, as one does that wants TLS"
            return f"it refused the client certificate ({shown}) without a word"
        answer += piece
    if answer[3] != _SETTINGS:
        return f"no BuildKit answers there, but something that says {answer!r}"
    return None


def _tls_fault(endpoint: RemoteEndpoint, error: ssl.SSLError) -> str:
    reason = (error.reason or str(error)).replace("_", " ").lower()
    if "alert" in reason or "certificate" in reason:
        shown = endpoint.cert or "none"
        return f"it refused the client certificate ({shown}): {reason}"
    return f"TLS failed: {reason}"
