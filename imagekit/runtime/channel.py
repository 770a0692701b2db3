"""Both ends of a conversation: messages, and the blobs that they name.

A thread writes, so that who sends never waits; who receives has a thread of its own to
do so. Blobs go in chunks before the first message that names them, once for each
conversation, so that memory stays flat however large they are.
"""

from __future__ import annotations

import queue
import tempfile
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import IO, Protocol

from imagekit.digest import Digest
from imagekit.frames import (
    Frame,
    FrameError,
    FrameReader,
    Readable,
    Writable,
    packed,
    write_all,
)
from imagekit.records import dataclass
from imagekit.runtime.messages import Chunk, Message, frame_of, message_of
from imagekit.value_blobs import ValueBlobs


class ClosableWritable(Writable, Protocol):
    """A stream to write to that has an end."""

    def close(self) -> None:
        """Let the other side know that nothing follows."""


@dataclass(frozen=True, slots=True)
class _Outgoing:
    """A message that waits to be written."""

    message: Message
    blobs: tuple[Digest, ...]
    failed: Callable[[Exception], None] | None


class Channel:
    """One end.

    Args:
        incoming: where frames come from.
        outgoing: where frames go.
        blobs: where blobs are read and kept.
    """

    def __init__(
        self, incoming: Readable, outgoing: ClosableWritable, blobs: ValueBlobs
    ) -> None:
        self.reader = FrameReader(incoming)
        self._outgoing = outgoing
        self._blobs = blobs
        self._queue: queue.SimpleQueue[_Outgoing | None] = queue.SimpleQueue()
        self._shared: set[Digest] = set()
        self._arriving: dict[str, IO[bytes]] = {}
        self._writer = threading.Thread(
            target=self._write, name="imagekit frames", daemon=True
        )

    def start(self) -> None:
        """Begin to write what was sent."""
        self._writer.start()

    def send(
        self,
        message: Message,
        blobs: Iterable[Digest] = (),
        *,
        failed: Callable[[Exception], None] | None = None,
    ) -> None:
        """Have *message* written, after *blobs*.

        Args:
            message: what to say.
            blobs: those that it names.
            failed: is told, in another thread, why it was not: a blob can't be read.
                That the other side has gone is no such reason: its silence tells.
        """
        self._queue.put(_Outgoing(message, tuple(blobs), failed))

    def finish(self) -> None:
        """Have the stream closed when everything is written."""
        self._queue.put(None)

    def wait(self, seconds: float) -> bool:
        """Return whether everything is written and closed, within *seconds*."""
        self._writer.join(seconds)
        return not self._writer.is_alive()

    def receive(self) -> Message | None:
        """Return the next message; None at the end.

        Raises:
            FrameError: something else came.
            StoreError: a blob can't be kept.
        """
        while (frame := self.reader.read()) is not None:
            message = message_of(frame)
            if not isinstance(message, Chunk):
                return message
            self._keep(message)
        return None

    def _keep(self, chunk: Chunk) -> None:
        if chunk.digest not in self._arriving:
            self._arriving[chunk.digest] = tempfile.NamedTemporaryFile(  # noqa: SIM115  (closed with its last chunk)
                prefix="imagekit-blob-"
            )
        file = self._arriving[chunk.digest]
        file.write(chunk.data)
        if not chunk.last:
            return
        with self._arriving.pop(chunk.digest):
            file.flush()
            digest = self._blobs.put_file(file.name)
        if str(digest) != chunk.digest:
            raise FrameError(f"wanted the blob {chunk.digest}, found {digest}")
        self._shared.add(digest)

    def _write(self) -> None:
        # Where the other side has gone, who receives learns that.
        with suppress(BrokenPipeError):
            while (item := self._queue.get()) is not None:
                self._write_one(item)
        self._close()

    def _write_one(self, item: _Outgoing) -> None:
        try:
            for digest in item.blobs:
                self._share(digest)
            data = packed(frame_of(item.message))
        except BrokenPipeError:
            raise
        except Exception as error:
            # The folder of blobs is damaged, or the message is far too large.
            if item.failed is None:
                raise
            item.failed(error)
            return
        write_all(self._outgoing, data)

    def _close(self) -> None:
        with suppress(BrokenPipeError):  # nobody is there to be told
            self._outgoing.close()

    def _share(self, digest: Digest) -> None:
        if digest in self._shared:
            return
        for data in self._blobs.chunks(digest):
            self._put(frame_of(Chunk(digest=str(digest), last=False, data=data)))
        self._put(frame_of(Chunk(digest=str(digest), last=True, data=b"")))
        self._shared.add(digest)

    def _put(self, frame: Frame) -> None:
        write_all(self._outgoing, packed(frame))
