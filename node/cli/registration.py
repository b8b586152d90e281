"""``cuckoo register``, ``profile``, ``commission``, ``rotate-key``, ``unjail``: what an owner does with its node."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from node.cli.account import Means, acting, transact
from node.cli.staking import NodeArgument

if TYPE_CHECKING:
    from node.owner.wallet import Plan, Wallet

ProofOption = Annotated[
    Path, typer.Option("--proof", metavar="FILE", help="The node key's consent, as cuckoo key prove prints it.")
]
NameOption = Annotated[str | None, typer.Option(help="What people shall call the node.")]
DescriptionOption = Annotated[str | None, typer.Option(help="What it offers, in a sentence.")]
SiteOption = Annotated[str | None, typer.Option(help="Web site.")]
LocationOption = Annotated[str | None, typer.Option(help="Where it is, as people say it.")]
ContactOption = Annotated[str | None, typer.Option(help="How to reach you.")]


@acting
def register(
    proof: ProofOption,
    stake: Annotated[str, typer.Option(metavar="AMOUNT", help="Own stake in CAI, above the role's minimum.")],
    means: Means,
    name: NameOption = None,
    description: DescriptionOption = None,
    site: SiteOption = None,
    location: LocationOption = None,
    contact: ContactOption = None,
) -> None:
    """Register a node that belongs to you, with a stake of your own. Its key agrees by a proof made where it lies.

    $ cuckoo key prove --owner 0x… --role miner --keystore node-key.json --network network.toml > proof.json

    $ cuckoo register --proof proof.json --stake 25000 --name "My GPU" --keystore owner.json --network network.toml
    """
    from node.amounts import parse_cai
    from node.owner.registration_proof import RegistrationProof

    wei = parse_cai(stake, "--stake")
    word = RegistrationProof.read(proof)
    profile = _profile(name, description, site, location, contact)

    async def plan(wallet: "Wallet") -> "Plan":
        from node.owner.plans import register as plan_registration

        return await plan_registration(wallet, word, wei, profile)

    transact(means, plan)


@acting
def profile(
    node: NodeArgument,
    means: Means,
    name: NameOption = None,
    description: DescriptionOption = None,
    site: SiteOption = None,
    location: LocationOption = None,
    contact: ContactOption = None,
) -> None:
    """Change what your node says of itself; what is not named stays as it is, and an empty text takes it away.

    $ cuckoo profile 4 --site https://example.org --network network.toml --keystore owner.json
    """
    from protocol.errors import ConfigError

    changes = _profile(name, description, site, location, contact)
    if not changes:
        raise ConfigError("nothing to change: give --name, --description, --site, --location or --contact")

    async def plan(wallet: "Wallet") -> "Plan":
        from node.owner.plans import set_profile
        from node.owner.stakes import find_node

        return await set_profile(wallet, await find_node(wallet, node), changes)

    transact(means, plan)


@acting
def commission(
    node: NodeArgument,
    percent: Annotated[float, typer.Argument(metavar="PERCENT", help="What you keep of the rewards, as 10 or 7.5.")],
    means: Means,
) -> None:
    """Set what you keep of your node's rewards. Once others vote for it, it holds after the unbonding delay only.

    $ cuckoo commission 4 7.5 --network network.toml --keystore owner.json
    """
    from protocol.errors import ConfigError

    points = round(percent * 100) if 0 <= percent <= 100 else -1  # nor is it then nan or inf
    if points < 0 or abs(points - percent * 100) > 1e-6:
        raise ConfigError(f"PERCENT: {percent:g} is not within 0 and 100 with at most two decimals")

    async def plan(wallet: "Wallet") -> "Plan":
        from node.owner.plans import set_commission
        from node.owner.stakes import find_node

        return await set_commission(wallet, await find_node(wallet, node), points)

    transact(means, plan)


@acting
def rotate_key(node: NodeArgument, proof: ProofOption, means: Means) -> None:
    """Give your node another hot key, when the old one may be known to others. Stake, votes and rewards stay.

    $ cuckoo key prove --owner 0x… --role miner --keystore new-key.json --network network.toml > proof.json

    $ cuckoo rotate-key 4 --proof proof.json --keystore owner.json --network network.toml
    """
    from node.owner.registration_proof import RegistrationProof

    word = RegistrationProof.read(proof)

    async def plan(wallet: "Wallet") -> "Plan":
        from node.owner.plans import rotate_key as plan_rotation
        from node.owner.stakes import find_node

        return await plan_rotation(wallet, await find_node(wallet, node), word)

    transact(means, plan)


@acting
def unjail(node: NodeArgument, means: Means) -> None:
    """Let your node take part again once the time for which it was jailed is over.

    $ cuckoo unjail 4 --network network.toml --keystore owner.json
    """

    async def plan(wallet: "Wallet") -> "Plan":
        from node.owner.plans import unjail as plan_unjailing
        from node.owner.stakes import find_node

        return await plan_unjailing(wallet, await find_node(wallet, node))

    transact(means, plan)


def _profile(
    name: str | None, description: str | None, site: str | None, location: str | None, contact: str | None
) -> dict[str, str]:
    """Keep what was given."""
    given = {"name": name, "description": description, "site": site, "location": location, "contact": contact}
    return {key: text for key, text in given.items() if text is not None}
