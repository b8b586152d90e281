"""The validator of gossip: may this message be forwarded and heard?

Answers at once from what is in memory. REJECT only where every honest node, whatever its view, finds the same
fault, because a REJECT costs its publisher credit; whatever may be our own lag is IGNORE. The publisher is judged
for its right to speak, not whoever forwarded it. What the offers inside say is for the miner's core to check.
Spec: SPEC.md §4.3, where each rule name stands.
"""

import hashlib
from typing import Final, NamedTuple, final

from protocol.crypto.keys import address_of_peer_id
from protocol.crypto.typed_data import Domain
from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.gossip.objections import ObjectionRules
from protocol.gossip.quota import Quota
from protocol.gossip.seen import Seen
from protocol.gossip.verdict import Verdict
from protocol.params import Params
from protocol.stake.book import StakeBook
from protocol.stake.epoch import is_acceptable
from protocol.stake.field import Field
from protocol.stake.table import EpochView, StakeRow
from protocol.units import Address, DurationMs, PeerId, Role, StakingId, UnixMillis
from protocol.wire.codec import GOSSIP_PLACE, decode
from protocol.wire.messages import Bulletin, GossipMessage, Objection
from protocol.wire.topics import objections_topic, offers_topic

ACCEPTED: Final = "gossip.accepted"
"""Rule name of an ACCEPT."""
SEEN_MESSAGES: Final = 65_536
"""Remembered bulletins: 180 messages/s over the 6 minutes in which the longest tolerance lets one be replayed."""
SIGNERS: Final = 4096
"""Coordinators with a bucket of their own; more are registered on no network in sight (2,000,000 CAI each)."""
BURST_S: Final = 2
"""Seconds' worth of bulletins that may come at once: what a network stall of that length holds back."""
MAX_WEIGHT: Final = 4
"""Most that stake multiplies a quota by: nobody buys the whole time of the network."""


class Judgement(NamedTuple):
    """The answer to one gossip message."""

    verdict: Verdict
    rule: str
    """Stable name of why, as in SPEC and metrics; ``gossip.accepted`` on ACCEPT."""
    message: GossipMessage | None
    """What it says, on ACCEPT only."""


class Speech(NamedTuple):
    """A bulletin in which nobody with the same tables finds a fault, as far as each node asks for itself."""

    speaker: StakingId
    weight: int
    """How many times the base quota its stake earns."""
    sent_at: UnixMillis
    digest: bytes
    """SHA-256 of its bytes."""


@final
class Admission:
    """Judges the gossip of one network for one node."""

    __slots__ = ("_book", "_minimum_wei", "_network", "_objections", "_params", "_quota", "_seen", "_tolerance_ms")

    def __init__(self, network: str, network_params: Params, book: StakeBook, domain: Domain) -> None:
        """Judge by this stake book, which the caller keeps up to date; ``domain`` is that of signed statements."""
        self._network = network
        self._params = network_params
        self._book = book
        self._tolerance_ms = network_params.boundary_tolerance_s * 1000
        self._seen = Seen(SEEN_MESSAGES, DurationMs(2 * self._tolerance_ms))
        rate_per_s = -(-1000 // network_params.publish_interval_ms)
        self._quota = Quota(rate_per_s, BURST_S, SIGNERS)
        self._minimum_wei = network_params.minimum_stake_wei(role_is_coordinator=True)
        self._objections = ObjectionRules(book, domain)

    def judge(self, topic: str, data: bytes, signer: PeerId, now: UnixMillis) -> Judgement:
        """Say what to do with one message. Never raises for what a remote party did.

        Args:
            topic: The topic on which it came.
            data: Its bytes, without the transport's frame.
            signer: Whose signature the transport has verified: the publisher, not the forwarder.
            now: The present moment.
        """
        try:
            return Judgement(Verdict.ACCEPT, ACCEPTED, self._pass(topic, data, signer, now))
        except InvalidMessage as error:
            return Judgement(Verdict.REJECT, error.rule, None)
        except IgnoredMessage as error:
            return Judgement(Verdict.IGNORE, error.rule, None)

    def _pass(self, topic: str, data: bytes, signer: PeerId, now: UnixMillis) -> GossipMessage:
        """Give the message when every rule holds; the cheap and the damning ones come first."""
        message = decode(data, GOSSIP_PLACE)
        if isinstance(message, Objection):
            return self._pass_objection(message, topic, data, signer, now)
        self.admit(self.speech(message, topic, data, signer, now), now)
        return message

    def _pass_objection(
        self, message: Objection, topic: str, data: bytes, signer: PeerId, now: UnixMillis
    ) -> Objection:
        """Give a miner's objection: rare, of its own claim, with its coordinator's signature."""
        if topic != objections_topic(self._network):
            raise InvalidMessage("gossip.topic", "another topic than that of objections")
        self._objections.check_statements(message)
        address = address_of_peer_id(signer)
        rows = self._rows_of_signer(address, now)
        self._objections.check_miner(message, rows, address, now)
        digest = hashlib.sha256(data).digest()
        self._check_new(message.sent_at, digest, now)
        self._objections.check_pace(message, now)
        self._objections.check_signatures(message, address, now)
        self._objections.passed(message, now)
        self._seen.add(digest, now)
        return message

    def admit(self, speech: Speech, now: UnixMillis) -> None:
        """Pass what was sent just now, is new to this very node, and is not more than its speaker may send."""
        speaker, weight, sent_at, digest = speech
        self._check_new(sent_at, digest, now)
        if not self._quota.take(speaker, weight, now):
            raise IgnoredMessage("gossip.quota")
        self._seen.put(digest, now)

    def _check_new(self, sent_at: UnixMillis, digest: bytes, now: UnixMillis) -> None:
        """Pass what was sent just now, and is new to this very node."""
        if abs(now - sent_at) > self._tolerance_ms:
            raise IgnoredMessage("gossip.stale")
        if self._seen.holds(digest, now):
            raise IgnoredMessage("gossip.duplicate")

    def speech(self, message: Bulletin, topic: str, data: bytes, signer: PeerId, now: UnixMillis) -> Speech:
        """Find whose bulletin this is, and no fault in it: what all nodes with the same tables find alike."""
        if topic != offers_topic(self._network, message.model):
            raise InvalidMessage("gossip.topic", "another topic than its model's")
        address = address_of_peer_id(signer)
        if all(row.id != message.coordinator for row in self._rows_of_signer(address, now)):
            raise InvalidMessage("gossip.coordinator", "speaks for another")
        view = self._view(message, now)
        row = _speaker(message, address, view)
        if self._book.is_inactive_now(row.id):
            raise IgnoredMessage("gossip.inactive")  # others may not have seen yet that it was jailed: no fault
        Field.from_bytes(message.field, len(view.table.miners))
        return Speech(row.id, self._weight(row), message.sent_at, hashlib.sha256(data).digest())

    def _rows_of_signer(self, address: Address, now: UnixMillis) -> tuple[StakeRow, ...]:
        """Give what the tables around now say of a registered signer, and pass no other."""
        rows = self._book.rows_around(address, now)
        if not rows:
            if self._book.certain(now):
                raise InvalidMessage("gossip.stranger")
            raise IgnoredMessage("gossip.perhaps_stranger")
        return rows

    def _view(self, message: Bulletin, now: UnixMillis) -> EpochView:
        """Give the view that the message was made under, if it is ours too."""
        if not is_acceptable(message.epoch, now, self._params):
            raise IgnoredMessage("gossip.epoch")
        view = self._book.view(message.epoch)
        if view is None:
            raise IgnoredMessage("gossip.no_table")
        if view.table.root != message.root:
            raise IgnoredMessage("gossip.root")
        return view

    def _weight(self, row: StakeRow) -> int:
        """Give how many times the base quota a stake earns: whole multiples of the minimum, within bounds."""
        return max(1, min(MAX_WEIGHT, row.stake // self._minimum_wei))


def _speaker(message: Bulletin, address: Address, view: EpochView) -> StakeRow:
    """Give the row of an active coordinator. The table is the sender's own, so a miner has no excuse."""
    row = view.table.by_address.get(address)
    if row is None or row.id != message.coordinator or not row.active:
        raise IgnoredMessage("gossip.inactive")  # under the minimum, or its key is not yet or no longer valid
    if row.role is not Role.COORDINATOR:
        raise InvalidMessage("gossip.not_coordinator")
    return row
