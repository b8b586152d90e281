"""What the chain must say of a node: the right chain and contract, a clock like ours, a registration, escrow, gas."""

import math
from collections.abc import Sequence
from typing import Final

from contracts.bindings import is_code_of, load
from node import keystore
from node.adapters.chain.answers import octets, quantity, shown
from node.adapters.chain.gas_level import LOW_GAS_TRANSACTIONS, USUAL_GAS
from node.adapters.chain.rpc import JsonRpc
from node.adapters.chain.simulation import Call, read
from node.doctor.findings import Finding, bad, good
from node.moments import moment
from node.settings import NodeRole, Settings
from protocol.errors import ConfigError, OverlayError, Unavailable
from protocol.units import CAI, Role

AHEAD_S: Final = 15
"""How far (s) the chain's newest block may be ahead of our clock: chains allow their own makers as much."""
COIN: Final = 10**18


async def look_at_chain(settings: Settings, now_s: float) -> Sequence[Finding]:
    """Ask every chain node, then the first that is right, about contract, time, registration, escrow and gas.

    Args:
        settings: Of the node.
        now_s: This machine's time, unix seconds.
    """
    section = settings.chain
    async with JsonRpc(section.rpc_urls, chain_id=section.chain_id) as rpc:
        found = [_endpoint(url, answer, section.chain_id) for url, answer in (await rpc.probe()).items()]
        if not any(finding.is_good for finding in found):
            return found
        found.append(await _contract(rpc, settings))
        found.append(await _clock(rpc, settings, now_s))
        if found[-2].is_good and settings.role is not NodeRole.BOOTSTRAP:
            found.append(await _registration(rpc, settings, now_s))
            if settings.role is NodeRole.COORDINATOR and found[-1].name == "stake":
                found.append(await _escrow(rpc, settings))
        found.append(await _gas(rpc, settings))
    return found


def _endpoint(url: str, answer: int | Unavailable, wanted: int) -> Finding:
    """Say how one chain node stands."""
    name, fix = "chain", "replace this URL in chain.rpc_urls, or start its node"
    if isinstance(answer, Unavailable):
        return bad(name, f"{shown(url)} does not answer: {answer}", fix)
    if answer != wanted:
        return bad(name, f"{shown(url)} serves chain {answer}, chain.chain_id says {wanted}", fix)
    return good(name, f"{shown(url)} serves chain {answer}")


async def _contract(rpc: JsonRpc, settings: Settings) -> Finding:
    """Look whether the staking contract lies where the settings say."""
    address = settings.chain.staking
    code = octets(await rpc.call("eth_getCode", address, "latest"))
    fix = "take chain.staking from the network's file: network or --network FILE"
    if not code:
        return bad("contract", f"no contract lies at {address}", fix)
    if not is_code_of(load("Staking"), code):
        return bad("contract", f"what lies at {address} is not this version's staking contract", fix)
    return good("contract", f"the staking contract lies at {address}")


async def _clock(rpc: JsonRpc, settings: Settings, now_s: float) -> Finding:
    """Compare our clock with the chain's newest block."""
    block = await rpc.call("eth_getBlockByNumber", "latest", False)
    return judge_clock(now_s - quantity(block["timestamp"] if isinstance(block, dict) else None), settings)


def judge_clock(age_s: float, settings: Settings) -> Finding:
    """Say what the age of the chain's newest block by our clock means; below zero, it comes from our future."""
    limit = settings.params.head_max_age_s
    if age_s < -AHEAD_S:
        return bad("clock", f"this clock is {-age_s:.0f} s behind the chain's newest block", "timedatectl set-ntp true")
    if age_s > limit:
        detail = f"the newest block is {age_s:.0f} s old, more than {limit} s: a chain node that lags, or a wrong clock"
        return bad(
            "clock", detail, "timedatectl set-ntp true; if the clock is right, another chain node: chain.rpc_urls"
        )
    return good("clock", f"the chain's newest block is {max(age_s, 0):.0f} s old by this clock")


async def _registration(rpc: JsonRpc, settings: Settings, now_s: float) -> Finding:
    """Look whether the key is registered, in this role, and active."""
    try:
        key = keystore.address_of(settings.keystore)
    except ConfigError as error:
        return bad("registration", f"unknown, as the key is: {error}", f"cuckoo key new --keystore {settings.keystore}")
    artifact, at = load("Staking"), settings.chain.staking
    ((number,),) = await read(rpc, [Call(artifact, at, "id_by_key", (key,))])
    role = "coordinator" if settings.role is NodeRole.COORDINATOR else "miner"
    if number == 0:
        fix = f"cuckoo key prove --owner 0x… --role {role} --keystore {settings.keystore}, then cuckoo register"
        return bad("registration", f"{key} is not registered", fix)
    (row,), (standing,) = await read(rpc, [Call(artifact, at, view, (number,)) for view in ("node", "standing")])
    _, _, registered, is_active, own, _ = row
    jailed_until, in_debt = standing[7], standing[9]
    minimum = settings.params.minimum_stake_wei(settings.role is NodeRole.COORDINATOR)
    if Role(registered).name.lower() != role:
        fix = f"set role to {Role(registered).name.lower()}, or register another key as a {role}"
        return bad("registration", f"{key} is registered as a {Role(registered).name.lower()}", fix)
    if own <= minimum:
        detail = f"node {number} has {own / CAI:,.0f} CAI of its own, and must have more than {minimum / CAI:,.0f}"
        return bad("stake", detail, f"cuckoo stake {number} {(minimum - own) // CAI + 1}")
    if in_debt or jailed_until:
        why = "in debt to miners" if in_debt else f"jailed until {moment(jailed_until, int(now_s))}"
        fix = f"cuckoo escrow deposit {number} AMOUNT" if in_debt else f"cuckoo unjail {number}, once its time is over"
        return bad("stake", f"node {number} is {why}", fix)
    if not is_active:
        return bad("stake", f"node {number} is not active", f"cuckoo stake {number} 1")
    return good("stake", f"node {number} is an active {role} with {own / CAI:,.0f} CAI of its own")


async def _escrow(rpc: JsonRpc, settings: Settings) -> Finding:
    """Look what a registered coordinator's escrow holds; what of it is promised its own store alone knows."""
    artifact, at, key = load("Staking"), settings.chain.staking, keystore.address_of(settings.keystore)
    calls = [Call(artifact, at, "id_by_key", (key,)), Call(artifact, at, "settlement", ())]
    (number,), (settlement,) = await read(rpc, calls)
    if not int(settlement, 16):
        return good("escrow", "this network has no Settlement contract yet")
    ((held,),) = await read(rpc, [Call(load("Settlement"), settlement, "escrow", (number,))])
    return judge_escrow(number, held / CAI, settings.coordinator.escrow_low_cai)


def judge_escrow(number: int, held_cai: float, low_cai: float) -> Finding:
    """Say what an escrow of so much means where less than ``low_cai`` is to be warned of."""
    if held_cai > 0 and held_cai >= low_cai:
        return good("escrow", f"{held_cai:,.0f} CAI for the miners of coordinator {number}")
    detail = f"{held_cai:,.0f} CAI, less than coordinator.escrow_low_cai: {low_cai:,.0f}"
    if not held_cai:
        detail = "nothing is deposited for miners, so that no task is taken (escrow_short)"
    return bad("escrow", detail, f"cuckoo escrow deposit {number} {max(math.ceil(low_cai - held_cai), 1)}, or more")


async def _gas(rpc: JsonRpc, settings: Settings) -> Finding:
    """Look whether the gas account can pay."""
    path = settings.chain.gas_keystore
    if path is None:
        return good("gas", "no gas key: this node makes no transactions")
    try:
        account = keystore.address_of(path)
    except OverlayError as error:
        return bad("gas", str(error), f"cuckoo key new --keystore {path}")
    balance = quantity(await rpc.call("eth_getBalance", account, "latest"))
    price = max(1, quantity(await rpc.call("eth_gasPrice")))
    left = balance // (price * USUAL_GAS)
    detail = f"{account} can pay for about {left:,} transactions at the present price"
    if left < LOW_GAS_TRANSACTIONS:
        more = (LOW_GAS_TRANSACTIONS * price * USUAL_GAS - balance) / COIN
        return bad("gas", detail, f"send {account} {more:.6f} of the chain's coin")
    return good("gas", detail)
