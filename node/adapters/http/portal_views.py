"""What the portal's page is told, as JSON. Amounts are decimal text of wei: JSON readers round large numbers."""

from dataclasses import asdict, dataclass

from node.adapters.http.views import Json
from node.desk_ports import Desk
from node.portal.ports import Happening, Holdings, Listed, LiveNetwork, Member, PortalChain, Prepared
from protocol.task.catalog import Catalog
from protocol.units import Role


@dataclass(frozen=True, slots=True)
class Scene:
    """What the network page shows, and whom it asks."""

    live: LiveNetwork
    desk: Desk
    catalog: Catalog
    requires_key: bool


def network_view(scene: Scene) -> Json:
    """Say who is here and what is offered."""
    here, totals = scene.live.here(), scene.live.totals()
    ready, reason = scene.desk.ready()
    return {
        "network": here.network,
        "epoch": here.epoch,
        "epoch_s": here.epoch_s,
        "own_id": here.own_id,
        "ready": ready,
        "reason": reason,
        "requires_key": scene.requires_key,
        "registered": here.registered,
        "totals": asdict(totals),
        "models": [
            {
                "id": offered.model,
                "title": scene.catalog.models[offered.model].title,
                "sizes": [f"{width}x{height}" for width, height in offered.sizes],
                "default_size": "x".join(map(str, scene.catalog.models[offered.model].default_size)),
                "default_steps": scene.catalog.models[offered.model].default_steps,
                "max_steps": offered.max_steps,
                "max_prompt_tokens": offered.max_prompt_tokens,
                "miners": offered.miners,
            }
            for offered in scene.desk.models()
            if offered.model in scene.catalog.models
        ],
        "members": [_member_view(member) for member in scene.live.members()],
    }


def happening_view(happening: Happening) -> Json:
    """Say one step of a task."""
    return {"at": happening.at, "name": happening.name, "task": happening.task, **happening.fields}


def _member_view(member: Member) -> Json:
    deeds = member.deeds
    view: dict[str, object] = {
        "id": member.id,
        "role": role_name(member.role),
        "stake": str(member.stake_wei),
        "active": member.is_active,
        "here": member.is_here,
    }
    if member.role is Role.MINER:
        view |= {"models": member.models, "places": member.places, "free": member.free, "deeds": asdict(deeds)}
    return view


def role_name(role: Role) -> str:
    """Give a role as people write it."""
    return role.name.lower()


def chain_view(chain: PortalChain) -> Json:
    """Say which chain a wallet should be on."""
    return {
        "chain_id": chain.chain_id,
        "name": chain.name,
        "coin": chain.coin,
        "rpc_url": chain.rpc_url,
        "contracts": dict(chain.contracts),
        "now": chain.now,
        "unbonding_s": chain.unbonding_s,
        "minimum": {role: str(wei) for role, wei in chain.minimum_wei.items()},
        "emission_per_day": str(chain.emission_wei_per_day),
        "staked": str(chain.staked_wei),
    }


def listed_view(node: Listed) -> Json:
    """Show a registered node."""
    return {
        "id": node.id,
        "role": node.role,
        "state": node.state,
        "owner": node.owner,
        "key": node.key,
        "own": str(node.own_wei),
        "votes": str(node.votes_wei),
        "commission_bps": node.commission_bps,
        "next_commission_bps": node.next_commission_bps,
        "next_commission_at": node.next_commission_at,
        "jailed_until": node.jailed_until,
        "profile": dict(node.profile),
        "slashes": [
            {
                "reason": slash.reason,
                "why": slash.why,
                "slashed": str(slash.wei),
                "at": slash.at,
                "transaction": slash.transaction,
            }
            for slash in node.slashes
        ],
    }


def holdings_view(held: Holdings) -> Json:
    """Show what an account has."""
    return {
        "account": held.account,
        "balance": str(held.balance_wei),
        "gas": str(held.gas_wei),
        "now": held.now,
        "next_drip_at": held.next_drip_at,
        "holdings": [
            {
                "node": item.node,
                "name": item.name,
                "own": item.is_own,
                "stake": str(item.stake_wei),
                "earned": str(item.earned_wei),
            }
            for item in held.holdings
        ],
        "releases": [
            {"node": item.node, "value": str(item.value_wei), "release_at": item.release_at} for item in held.releases
        ],
    }


def prepared_view(prepared: Prepared) -> Json:
    """Show transactions before anybody signs them."""
    return {
        "title": prepared.title,
        "steps": [
            {
                "text": step.text,
                "contract": step.contract,
                "to": step.to,
                "function": step.function,
                "arguments": step.arguments,
                "data": step.data,
                "gas_limit": step.gas_limit,
            }
            for step in prepared.steps
        ],
        "gas": prepared.gas,
        "fee": str(prepared.fee_wei),
        "affordable": prepared.is_affordable,
        "effects": [{"what": what, "before": before, "after": after} for what, before, after in prepared.effects],
        "notes": prepared.notes,
    }
