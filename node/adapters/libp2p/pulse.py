"""The pulse of one connection: finds peers that are dead or frozen, which TCP may not tell for hours."""

from collections.abc import Awaitable, Callable
from typing import Final, final

import trio

from node.adapters.libp2p.framing import STREAM_ERRORS

WATCHED_PULSE_S: Final = 0.75
"""Pulse (s) of a peer that we work with, when it is silent: with ``PONG_S``, a frozen one is found in 3 s."""
IDLE_PULSE_S: Final = 15.0
"""Pulse (s) of every other peer: only clears away what is dead."""
PONG_S: Final = 2.0
"""A peer that has sent nothing at all for this long (s) after a pulse is taken for frozen."""
STALL_S: Final = 0.5
"""If our own loop was late by this (s), the pulse proves nothing about the peer and is repeated."""


@final
class Pulse:
    """Pings a silent peer, and says when it does not answer."""

    def __init__(self, ping: Callable[[int], Awaitable[None]]) -> None:
        """Ping with ``ping(nonce)``, which may be cancelled only where the connection ends for it."""
        self._ping = ping
        self._heard = 0.0
        self._is_watched = False
        self._wake = trio.Event()
        self._pong = trio.Event()
        self._nonce = 0

    def watch(self, on: bool) -> None:
        """Look for life every second, or only now and then."""
        self._is_watched = on
        if on:
            self._wake.set()

    def heard(self) -> None:
        """The peer has sent something."""
        self._heard = trio.current_time()

    def answered(self, nonce: int) -> None:
        """The peer has answered a ping."""
        if nonce == self._nonce:
            self._pong.set()

    async def until_dead(self) -> None:
        """Wait until the peer does not answer."""
        checked = trio.current_time()
        while True:
            self._wake = trio.Event()
            pulse = WATCHED_PULSE_S if self._is_watched else IDLE_PULSE_S
            with trio.move_on_at(max(checked, self._heard) + pulse):
                await self._wake.wait()
            checked = trio.current_time()
            if checked - self._heard >= WATCHED_PULSE_S and not await self._answers():
                return

    async def _answers(self) -> bool:
        """Ping, and once more if the silence may have been ours."""
        while True:
            began, is_sent = trio.current_time(), False
            self._pong = trio.Event()
            self._nonce = (self._nonce + 1) & 0xFFFFFFFF
            with trio.move_on_after(PONG_S) as patience:
                try:
                    await self._ping(self._nonce)
                except STREAM_ERRORS:
                    return False
                is_sent = True
                await self._pong.wait()
            if not patience.cancelled_caught or (is_sent and self._heard >= began):
                return True
            # A ping that found no place in the socket was cut short: the connection is over, whoever is to blame.
            if not is_sent or trio.current_time() - began < PONG_S + STALL_S:
                return False
