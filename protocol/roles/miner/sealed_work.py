"""The miner's half of sealed tasks: the key that its capability names, and jobs that wait for the key of their order.

The secrets are in memory only: what was sealed to an earlier run is of awards that bind nobody any more. A repeated
claim is answered with the same award and, where its app has said it, the key: so what was lost on the way needs no
message of its own. Spec: SPEC.md §9.10.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from protocol.crypto.sealing import KEY_BYTES, open_body, open_key, sealing_key_of
from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.roles.abandon_reasons import NO_KEY, SEALED_INVALID
from protocol.roles.core import Core
from protocol.roles.miner.job_waiting import Awaited, JobWaiting, Key, Patience
from protocol.task.specification import open_specification
from protocol.units import DAY_MS, Digest, DurationMs, PeerId, UnixMillis
from protocol.wire.codec import BODY_PLACE, decode
from protocol.wire.messages import Claim
from protocol.wire.specification import TaskSpecification

WAIT_MS: Final = DurationMs(12_000)
"""How long (ms) a key may take: what its app has for it, and the way."""
ASK_AGAIN_MS: Final = DurationMs(4000)
"""Pause (ms) before it is asked for again."""
ROTATED_MS: Final = DAY_MS
"""How long (ms) a sealing key is named: whoever gets hold of a later one opens nothing of before."""
KEPT_MS: Final = DurationMs(300_000)
"""How long (ms) one that is named no more still opens: as long as a capability may be believed, and a key takes."""


@final
class SealingKeys:
    """The present sealing key of a miner, and the one before for a while."""

    def __init__(self, core: Core) -> None:
        """Draw none before one is needed."""
        self._core = core
        self._secrets: list[tuple[bytes, UnixMillis]] = []
        """Each with when it was drawn, the present one first."""
        self._public = b""
        """Of the present one: every capability names it, and working it out costs as much as signing one."""

    def public(self) -> bytes:
        """Give the key that is named now, drawn anew once it is a day old."""
        now = self._core.now
        if not self._secrets or now >= self._secrets[0][1] + ROTATED_MS:
            self._secrets.insert(0, (self._core.identity.entropy(KEY_BYTES), now))
            self._public = sealing_key_of(self._secrets[0][0])
        self._forget_old()
        return self._public

    def open(self, sealed: bytes, award: Digest) -> bytes:
        """Give the content key that was sealed to one of these keys for an award of ours.

        Raises:
            InvalidMessage: ``sealed.key``: it was sealed to none of them, or for another award.
        """
        self._forget_old()
        for secret, _ in self._secrets:
            try:
                return open_key(sealed, secret, award)
            except InvalidMessage:
                continue
        raise InvalidMessage("sealed.key")

    def _forget_old(self) -> None:
        """Keep one of before as long as what was sealed to it may be on its way."""
        if len(self._secrets) > 1 and self._core.now >= self._secrets[0][1] + KEPT_MS:
            del self._secrets[1:]


@dataclass(slots=True)
class AwaitedKey(Awaited):
    """One awarded attempt whose key is on its way."""

    award: Digest


@final
class SealedWork(JobWaiting[AwaitedKey]):
    """Jobs that cannot begin before they can be read."""

    def __init__(
        self,
        core: Core,
        begin: Callable[[Key, TaskSpecification, bytes], None],
        give_up: Callable[[Key, str], None],
    ) -> None:
        """Tell ``begin`` of each job that is open (what it asks for, content key), and ``give_up`` of others, why."""
        super().__init__(core, Patience("key", WAIT_MS, ASK_AGAIN_MS, NO_KEY), give_up)
        self._begin = begin
        self.keys = SealingKeys(core)

    def add(
        self, key: Key, peer: Callable[[], PeerId], claim: Claim, specification: TaskSpecification, award: Digest
    ) -> None:
        """Wait for the key of an award; ``peer`` says where its coordinator is now."""
        now = self._core.now
        self._wait_for(key, AwaitedKey(peer, claim, specification, now, now, award))

    def on_key(self, peer: PeerId, key: Key, sealed_key: bytes) -> None:
        """Take a sealed key from a job's coordinator: the job begins, or is given back where nothing can be opened."""
        awaited = self._from(peer, key)
        if awaited is None:
            return  # it is open already: the key comes again with each answer to a claim
        self.forget(key)
        assert awaited.specification.sealed is not None, "only such are waited for"
        try:
            content_key = self.keys.open(sealed_key, awaited.award)
            body = decode(open_body(content_key, awaited.specification.sealed), BODY_PLACE)
        except (InvalidMessage, IgnoredMessage):
            self._give_up(key, SEALED_INVALID)
            return
        self._begin(key, open_specification(awaited.specification, body), content_key)
