"""Whether a coordinator takes a miner's word on what it serves. Spec: SPEC.md §8.2."""

from protocol.crypto.envelope import opened_by
from protocol.errors import IgnoredMessage, InvalidMessage
from protocol.roles.core import Core
from protocol.stake.table import StakeRow
from protocol.units import UnixMillis
from protocol.wire.codec import CAPABILITY_PLACE, decode
from protocol.wire.messages import Capability, CapabilityUpdate


def check_capability(
    core: Core, row: StakeRow, message: CapabilityUpdate, last: Capability | None
) -> tuple[Capability, UnixMillis]:
    """Give a capability, and until when it counts here, with allowance for clocks that differ.

    Args:
        core: Whose clock and network it is.
        row: The miner on whose stream it came.
        message: What came.
        last: What that miner said before, None at first.

    Raises:
        InvalidMessage: ``capability.signature``, ``capability.miner``: another signed it, or it is of another.
        IgnoredMessage: ``capability.expired``, ``capability.old``: it is over, or no newer than the last.
    """
    if opened_by(core.identity.network_id, message.body, message.signature) != row.address:
        raise InvalidMessage("capability.signature")
    capability = decode(message.body, CAPABILITY_PLACE)
    if capability.miner != row.id:
        raise InvalidMessage("capability.miner")
    serves_until = UnixMillis(capability.expires_at + core.params.boundary_tolerance_s * 1000)
    if serves_until <= core.now:
        raise IgnoredMessage("capability.expired")
    if last is not None and capability.sequence <= last.sequence:
        raise IgnoredMessage("capability.old")
    return capability, serves_until
