"""What disputes need from the world, as small Protocols; see ``node.ports`` for the rules of editing."""

from dataclasses import dataclass
from typing import Protocol

from protocol.units import Address, Digest, PeerId, StakingId


class BundleFace(Protocol):
    """Who shows evidence to jurors."""

    async def may_see(self, peer: PeerId, dispute: int, evidence: Digest) -> bool:
        """Say whether a peer may see a bundle now. Never raises for what a peer asks."""
        ...

    async def bundle(self, peer: PeerId, dispute: int, evidence: Digest) -> bytes | None:
        """Give it to a peer that may see it; None where there is none."""
        ...


class BundleTransport(Protocol):
    """Streams on which jurors fetch evidence."""

    def serve_bundles(self, face: BundleFace) -> None:
        """Let jurors ask from now on."""
        ...

    async def fetch_bundle(self, peer: PeerId, dispute: int, evidence: Digest) -> bytes:
        """Ask a reporter for its evidence; what comes has the digest that was asked for.

        Raises:
            Unavailable: It cannot be reached, is too slow, has none for us, or shows something else; the text is a
                stable name.
        """
        ...


class DisputeChain(Protocol):
    """What is asked of the contracts beside what is followed."""

    async def signing_ids(self, keys: tuple[Address, ...]) -> tuple[StakingId | None, ...]:
        """Say for which nodes signatures of these keys count now, also of keys that were changed lately.

        Raises:
            Unavailable: No chain node answers.
        """
        ...

    async def shown_to(self, dispute: int, reporter: StakingId, juror: StakingId) -> Digest | None:
        """Give the digest of what a node may see as a juror of a dispute that ``reporter`` began; None for nothing.

        Raises:
            Unavailable: No chain node answers.
        """
        ...


@dataclass(frozen=True, slots=True)
class DisputePorts:
    """Both, of one node."""

    transport: BundleTransport
    chain: DisputeChain
