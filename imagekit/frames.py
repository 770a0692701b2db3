"""Frames: how a process and the container that it started talk over two pipes.

A stream is a preamble and then frames: four bytes with the length of a header, eight
bytes with the length of a payload, the header, which is a JSON document, and the
payload, which is any bytes. Numbers are big-endian and unsigned.

The preamble tells the first frame from what else came out of a program before it could
keep its output to itself.
"""

from __future__ import annotations

import json
import struct
from typing import Any, Protocol, TypeAlias

from imagekit.records import dataclass
from imagekit.task_errors import RuntimeSystemError

Json: TypeAlias = Any

#: Begins a stream of frames.
PREAMBLE = b"\0imagekit frames 1\n"
#: Largest payload: content is cut into chunks of at most this size.
CHUNK = 1 << 20
#: Largest header: the inputs or outputs of a task, without their large parts.
_LARGEST_HEADER = 1 << 30
_LENGTHS = struct.Struct(">IQ")
_TAIL = 1 << 12


class Readable(Protocol):
    """A stream that can be read, as files are."""

    def read(self, size: int, /) -> bytes | None:
        """Return at most *size* bytes; none at the end."""


class Writable(Protocol):
    """A stream that can be written to; it may take less than it is given."""

    def write(self, data: bytes | memoryview, /) -> int | None:
        """Write *data* and return how much was written."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A header with its payload."""

    header: Json
    payload: bytes = b""


class FrameError(RuntimeSystemError):
    """What came is no frame."""


class CutFrameError(FrameError):
    """The stream ended within a frame.

    Attributes:
        tail: the last bytes that came.
    """

    def __init__(self, message: str, *, tail: bytes) -> None:
        super().__init__(message)
        self.tail = tail


def packed(frame: Frame) -> bytes:
    """Return the bytes of *frame*.

    Raises:
        FrameError: the payload is too large.
        TypeError, ValueError: the header is no JSON document.
    """
    if len(frame.payload) > CHUNK:
        raise FrameError(f"wanted at most {CHUNK} bytes, found {len(frame.payload)}")
    header = json.dumps(frame.header, separators=(",", ":")).encode("ascii")
    return _LENGTHS.pack(len(header), len(frame.payload)) + header + frame.payload


def write_all(stream: Writable, data: bytes) -> None:
    """Write all of *data*, however little *stream* takes at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[stream.write(rest) or 0 :]


class FrameReader:
    """Reads frames from *stream*."""

    def __init__(self, stream: Readable) -> None:
        self._stream = stream
        self._tail = b""

    def preamble(self) -> bytes:
        """Read on until frames begin, and return what came before them.

        Raises:
            CutFrameError: none began.
        """
        seen = bytearray()
        while not seen.endswith(PREAMBLE):
            byte = self._stream.read(1)
            if not byte:
                raise CutFrameError("found no frames", tail=bytes(seen[-_TAIL:]))
            seen += byte
        return bytes(seen[: -len(PREAMBLE)])

    def read(self) -> Frame | None:
        """Return the next frame; None at the end.

        Raises:
            FrameError: something else came.
            CutFrameError: the stream ended within a frame.
        """
        first = self._stream.read(_LENGTHS.size)
        if not first:
            return None
        self._tail = b""
        lengths = self._exactly(_LENGTHS.size, first)
        header_size, payload_size = _LENGTHS.unpack(lengths)
        if header_size > _LARGEST_HEADER or payload_size > CHUNK:
            raise FrameError(f"wanted the lengths of a frame, found {lengths!r}")
        text = self._exactly(header_size)
        payload = self._exactly(payload_size)
        try:
            return Frame(json.loads(text), payload)
        except ValueError as error:
            start = text[:100]
            raise FrameError(f"wanted a JSON document, found {start!r}") from error

    def _exactly(self, size: int, begun: bytes = b"") -> bytes:
        """Return *size* bytes, the first of which are *begun*."""
        data = bytearray(begun)
        while len(data) < size:
            more = self._stream.read(min(size - len(data), CHUNK))
            if not more:
                tail = (self._tail + bytes(data))[-_TAIL:]
                raise CutFrameError("the stream ended within a frame", tail=tail)
            data += more
        self._tail = (self._tail + data[-_TAIL:])[-_TAIL:]
        return bytes(data)
