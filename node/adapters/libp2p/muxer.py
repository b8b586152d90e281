"""Yamux with a limit on what a peer may make us hold, and a pulse that finds dead and frozen peers.

Upstream lets a peer overrun its window without end (yamux.py warns and goes on), and never notices a frozen one.
"""

import logging
import struct
from typing import Final, cast

import trio
import trio.lowlevel
from libp2p.stream_muxer.yamux.yamux import FLAG_SYN, TYPE_PING, YAMUX_HEADER_FORMAT, Yamux

from node.adapters.libp2p.framing import STREAM_ERRORS

MAX_BUFFERED_BYTES: Final = 4 * 1024 * 1024
"""Unread bytes of all streams of one connection (bytes): four full windows; more is a peer that ignores windows."""
WATCHED_PULSE_S: Final = 0.75
"""Pulse (s) of a peer that we work with, when it is silent: with ``PONG_S``, a frozen one is found in 3 s."""
IDLE_PULSE_S: Final = 15.0
"""Pulse (s) of every other peer: only clears away what is dead."""
PONG_S: Final = 2.0
"""A peer that has sent nothing at all for this long (s) after a pulse is taken for frozen."""
STALL_S: Final = 0.5
"""If our own loop was late by this (s), the pulse proves nothing about the peer and is repeated."""


_logger = logging.getLogger(__name__)


class PulsedYamux(Yamux):
    """One connection. ``watch`` makes its pulse quick."""

    watched: bool = False
    _heard: float = 0.0
    _wake: trio.Event | None = None

    def watch(self, on: bool) -> None:
        """Look for life every second, or only now and then."""
        self.watched = on
        if on and self._wake is not None:
            self._wake.set()

    async def abort(self) -> None:
        """End the connection without a word to the peer, who would not read it."""
        await self._cleanup_on_error()

    async def start(self) -> None:
        """Run the connection to its end; what a peer makes it raise ends this connection alone."""
        try:
            await super().start()
        except Exception:
            # Upstream runs this in the swarm's own nursery, where any exception is the end of the node.
            _logger.debug("connection failed", exc_info=True)
            await self._cleanup_on_error()
            self.event_started.set()

    async def _read_data_body(self, length: int) -> bytes:
        if length + sum(map(len, self.stream_buffers.values())) > MAX_BUFFERED_BYTES:
            self.event_shutting_down.set()
            return cast("bytes", None)  # upstream's word for "the connection is gone": it cleans up and leaves
        body = await super()._read_data_body(length)
        self._heard = trio.current_time()
        return body

    async def _measure_rtt_loop(self) -> None:
        """Ping in the place of upstream's loop, which also measures but draws no conclusion."""
        checked = trio.current_time()
        while not self.event_shutting_down.is_set():
            self._wake = trio.Event()
            pulse = WATCHED_PULSE_S if self.watched else IDLE_PULSE_S
            with trio.move_on_at(max(checked, self._heard) + pulse):
                await self._wake.wait()
            checked = trio.current_time()
            if self.event_shutting_down.is_set():
                return
            if checked - self._heard >= WATCHED_PULSE_S and not await self._answers():
                await self._cleanup_on_error()
                return

    async def _answers(self) -> bool:
        """Ping, and once more if the silence may have been ours."""
        while True:
            began = trio.current_time()
            self._ping_event = trio.Event()
            self._ping_id = (self._ping_id + 1) & 0xFFFFFFFF
            with trio.move_on_after(PONG_S) as patience:
                self._ping_sent_time = began
                try:
                    await self._write_frame(struct.pack(YAMUX_HEADER_FORMAT, 0, TYPE_PING, FLAG_SYN, 0, self._ping_id))
                except STREAM_ERRORS:
                    return False
                await self._ping_event.wait()
            if not patience.cancelled_caught or self._heard >= began:
                return True
            if trio.current_time() - began < PONG_S + STALL_S:
                return False
