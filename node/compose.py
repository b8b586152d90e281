"""THE composition root: settings in, a running node out.

Everything that a role means is in the table ``ROLES``; there is no ``if role`` anywhere else. Heavy packages are
imported by the builders of the roles that need them, so a bootstrap never loads FastAPI and only a miner's child
loads torch.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Final

import trio

from node import garbage
from node.adapters.system import SystemClock, system_entropy
from node.amounts import wei_of, wei_of_gwei
from node.apps.content_policy import refusal_of
from node.apps.gateway import Drain, access_of, build_portal, serve_apps
from node.control import Control
from node.desk import TaskDesk
from node.desk_ports import OfferedModel, Waiting
from node.disputes.evidence_desk import open_evidence_desk
from node.disputes.own_disputes import own_disputes
from node.disputes.ports import DisputePorts
from node.door import build_doorkeeper, stop_when_drained
from node.driver import Driver
from node.figures import figures
from node.journal import StructuredJournal
from node.miner_engine import build_miner_engine
from node.model_files.catalog import load_catalog
from node.policies import dispute_policy, proof_policy, recheck_policy, redeem_policy
from node.portal.live_network import LiveView
from node.ports import Clock, Journal, Ports, Reach
from node.recording import RecordedSink, Recorder
from node.settings import NodeRole, Settings
from node.standings import few_witnesses, payers, standings
from node.upkeep import keep_tidy
from node.watching import start_metrics, start_tracing
from protocol.audit.record import RecordHead
from protocol.crypto.keys import NodeKey
from protocol.crypto.typed_data import Domain
from protocol.errors import ConfigError
from protocol.notes import NoteName
from protocol.roles.bootstrap import BootstrapCore
from protocol.roles.coordinator.coordinator import CoordinatorCore
from protocol.roles.coordinator.intake import price_of
from protocol.roles.core import Core, Identity
from protocol.roles.miner.miner import MinerCore
from protocol.task.catalog import Catalog
from protocol.units import PeerId, StakingId, TaskId, Wei
from protocol.wire.topics import objections_topic, offers_topic

RECURSION_LIMIT: Final = 1000
"""Python's own. eth_account, which opens the keystore, brings a library that raises it to 100,000; `json.loads`, which
recurses in C, then ends the process on 100 kB of brackets from any client."""
Addresses = Callable[[], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What a running node says of itself."""

    role: NodeRole
    peer_id: PeerId
    address: str
    """Ethereum address of the node key, ``0x…``."""
    addresses: tuple[str, ...]
    """Multiaddresses under which it can be dialled."""
    staking_id: StakingId | None
    """None while the current stake table does not list it as active."""
    http_url: str | None
    access: str | None = None
    """Whom its API serves, in a few words."""
    metrics_url: str | None = None
    """Where Prometheus asks it, beside its API."""
    reach: Reach = "unknown"
    """Whether others can dial it where it listens, as far as peers have tried."""
    drain: Drain = trio.lowlevel.checkpoint
    """Lets it take no more tasks, and returns once no app waits for an answer."""


@dataclass(frozen=True, slots=True)
class RoleSpec:
    """What makes one role different from another."""

    core: Callable[[Identity, Settings, Addresses], Core]
    is_registered: bool = True
    """Whether its key stands in the staking contract, so that the Settlement contract has something to say to it."""
    has_engine: bool = False
    has_gateway: bool = False


ROLES: Final[Mapping[NodeRole, RoleSpec]] = {
    NodeRole.BOOTSTRAP: RoleSpec(
        core=lambda identity, _settings, _addresses: BootstrapCore(identity), is_registered=False
    ),
    NodeRole.COORDINATOR: RoleSpec(
        core=lambda identity, settings, addresses: CoordinatorCore(
            identity,
            addresses,
            wei_of(settings.coordinator.escrow_low_cai),
            proof_policy(settings),
            recheck_policy(settings),
            dispute_policy(settings),
        ),
        has_gateway=True,
    ),
    NodeRole.MINER: RoleSpec(
        core=lambda identity, settings, addresses: MinerCore(
            identity,
            addresses,
            Wei(settings.miner.price_floor_wei),
            frozenset(map(StakingId, settings.miner.blocked_coordinators)),
            redeem_policy(settings),
            refusal_of(settings.miner.refused_words),
            proof_policy(settings),
            dispute_policy(settings),
        ),
        has_engine=True,
    ),
}


def identity_of(settings: Settings, secret: bytes) -> Identity:
    """Say who a node is: its key, and the numbers, contract and catalog of its network."""
    contract = settings.chain.staking_address
    return Identity(
        network=settings.params.name,
        network_id=settings.params.network_id(settings.chain.chain_id, contract),
        params=settings.params,
        domain=Domain(settings.chain.chain_id, contract),
        catalog=load_catalog(settings.catalog),
        key=NodeKey(secret),
        entropy=system_entropy,
        bootstraps=frozenset(PeerId(address.rsplit("/p2p/", 1)[1]) for address in settings.overlay.bootstrap),
    )


async def run_node(
    settings: Settings,
    secret: bytes,
    gas_key: bytes | None = None,
    *,
    task_status: "trio.TaskStatus[NodeInfo]" = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run one node of any role until cancelled.

    Args:
        settings: All choices for it.
        secret: Its 32-byte node key.
        gas_key: Secret (32 bytes) of the account that pays for its transactions, if there is one.
        task_status: Reports started with the ``NodeInfo`` once it listens, and serves HTTP if its role does.

    Raises:
        ConfigError: a person must mend something; the text says what.
    """
    sys.setrecursionlimit(RECURSION_LIMIT)
    clock = SystemClock()
    journal = StructuredJournal()
    identity = identity_of(settings, secret)
    recorder = _recorder(settings, clock, journal)
    ports = real_ports(settings, secret, identity.catalog, clock, journal, gas_key, recorder)
    garbage.collect_from_here_on()
    await run_with(ports, settings, identity, journal, recorder, task_status=task_status)


def real_ports(
    settings: Settings,
    secret: bytes,
    catalog: Catalog,
    clock: Clock,
    journal: Journal,
    gas_key: bytes | None = None,
    recorder: Recorder | None = None,
) -> Ports:
    """Build the real adapters of a role: sockets, chain, disk, device.

    Raises:
        ConfigError: The gas key is the node's key.
    """
    if gas_key == secret:
        raise ConfigError(
            "chain.gas_keystore: this is the node's own key, which signs no transactions: "
            "make another with cuckoo key new --keystore FILE"
        )
    from node.adapters.chain.chain import ChainSettings, StakingChain
    from node.adapters.control import UnixControl
    from node.adapters.libp2p import OverlaySettings, OverlayTransport, RelayLimits
    from node.adapters.pictures import ChildComparer
    from node.adapters.store import SqliteStore

    store = SqliteStore(settings.data, clock)
    chain = StakingChain(
        ChainSettings(
            rpc_urls=settings.chain.rpc_urls,
            chain_id=settings.chain.chain_id,
            staking=settings.chain.staking_address,
            start_block=settings.chain.start_block,
            poll_s=settings.chain.poll_s,
            confirmations=settings.chain.confirmations,
            max_fee=wei_of_gwei(settings.chain.max_fee_gwei),
            bump_after_s=settings.chain.bump_after_s,
        ),
        settings.params,
        clock,
        journal,
        store,
        gas_key,
        NodeKey(secret).address if ROLES[settings.role].is_registered else None,
    )
    overlay = settings.overlay
    limits = RelayLimits(
        circuits=overlay.relay_circuits,
        circuit_s=overlay.relay_circuit_s,
        circuit_bytes=overlay.relay_circuit_mb * 1_000_000,
    )
    transport = OverlayTransport(
        OverlaySettings(
            listen=overlay.listen,
            announce=overlay.announce,
            bootstraps=overlay.bootstrap,
            max_connections=overlay.max_connections,
            relays=overlay.relays,
            service=limits if overlay.relay else None,
            asks_reach=settings.role is not NodeRole.MINER,
        ),
        secret,
        clock,
        journal,
        store,
        recorder,
    )
    engine = build_miner_engine(settings, catalog, clock, journal) if ROLES[settings.role].has_engine else None
    pictures = ChildComparer() if ROLES[settings.role].is_registered else None
    disputes = DisputePorts(transport, chain) if ROLES[settings.role].is_registered else None
    return Ports(transport, chain, store, engine, clock, journal, UnixControl(settings.data), pictures, disputes)


def _recorder(settings: Settings, clock: Clock, journal: Journal) -> Recorder | None:
    """Build the recorder of public gossip, where one is asked for."""
    section = settings.record
    if section.file is None:
        return None
    head = RecordHead(settings.params, settings.chain.chain_id, settings.chain.staking_address)
    return Recorder(section.file, head, section.max_mb * 10**6, section.files, clock, journal)


async def run_with(
    ports: Ports,
    settings: Settings,
    identity: Identity,
    journal: StructuredJournal,
    recorder: Recorder | None = None,
    *,
    task_status: "trio.TaskStatus[NodeInfo]" = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run one node over given ports: store, recorder, chain, transport, driver, engine, gateway, in this order.

    The driver has its memory and the tables before the transport listens: who dials at once is known at once.
    """
    spec = ROLES[settings.role]
    core = spec.core(identity, settings, ports.transport.addresses)
    async with ports.store.opened(), trio.open_nursery() as nursery:
        desk = live = None
        start_tracing(settings, core, journal, nursery)
        if isinstance(core, CoordinatorCore):
            desk = _desk(core, ports)
            live = LiveView(core, ports.journal, ports.clock)
        hears = live.heard if live is not None else None
        fetch = open_evidence_desk(core, ports, settings.data)
        driver = Driver(core, ports if live is None else replace(ports, journal=live), desk, hears, fetch)
        if desk is not None:
            desk.connect(driver.post, driver.kept_back)
        if recorder is not None:
            recorder.open()
            nursery.start_soon(recorder.run)
            for model in identity.catalog.offered():
                ports.transport.subscribe(offers_topic(identity.network, model))
            ports.transport.subscribe(objections_topic(identity.network))
        await nursery.start(ports.chain.run, driver if recorder is None else RecordedSink(driver, recorder))
        await driver.remember()
        await nursery.start(ports.transport.run, driver, driver)
        await nursery.start(driver.run)
        nursery.start_soon(keep_tidy, ports.store, ports.clock, journal, settings.data)
        doorkeeper = None
        if ports.engine is not None and isinstance(core, MinerCore):
            doorkeeper = await build_doorkeeper(core, ports.engine, settings, ports)
            await nursery.start(doorkeeper.run, driver)
            nursery.start_soon(stop_when_drained, doorkeeper, nursery.cancel_scope)
            nursery.start_soon(ports.engine.run, driver)
        metrics_url = await start_metrics(settings, core, driver, doorkeeper, ports, journal, nursery)
        url, drain = None, trio.lowlevel.checkpoint
        if spec.has_gateway and desk is not None and live is not None:
            portal = build_portal(settings, live, nursery) if settings.portal.enabled else None
            port, drain = await nursery.start(
                serve_apps, settings, desk, portal, identity.catalog, ports.clock, journal, ports.transport
            )
            url = f"http://{settings.http.host}:{port}"
        access = access_of(settings) if url is not None else None

        def describe() -> NodeInfo:
            return NodeInfo(
                role=settings.role,
                peer_id=ports.transport.peer_id,
                address="0x" + identity.key.address.hex(),
                addresses=ports.transport.addresses(),
                staking_id=core.own_id(),
                http_url=url,
                access=access,
                metrics_url=metrics_url,
                reach=ports.transport.reach,
            )

        info = replace(describe(), drain=drain)
        if ports.control is not None:
            refused = core.refused if isinstance(core, MinerCore) else None
            counted = partial(figures, journal.registry)
            control = Control(
                lambda: described(describe()),
                doorkeeper,
                ports.engine,
                refused,
                counted,
                partial(standings, core, ports.clock) if isinstance(core, CoordinatorCore) else None,
                coordinators=partial(payers, core, ports.clock) if isinstance(core, MinerCore) else None,
                disputes=_disputes_of(core),
                few_witnesses=partial(few_witnesses, core, ports.clock) if isinstance(core, CoordinatorCore) else None,
            )
            await nursery.start(ports.control.run, control.answer)
        journal.note(NoteName.NODE_READY, role=settings.role.value, peer=info.peer_id)
        nursery.start_soon(_note_stopping, journal)
        task_status.started(info)


def _disputes_of(core: Core) -> Callable[[], list[dict[str, object]]] | None:
    """Give what tells of the disputes of a registered node."""
    if isinstance(core, CoordinatorCore):
        return partial(own_disputes, core.disputing)
    return partial(own_disputes, core.jury.disputing) if isinstance(core, MinerCore) else None


def described(info: NodeInfo) -> dict[str, object]:
    """Give what may be told of a node."""
    return {name: value for name, value in asdict(info).items() if name != "drain"}


async def _note_stopping(journal: Journal) -> None:
    """Wait for the moment at which a node that was ready begins to stop, and note why."""
    try:
        await trio.sleep_forever()
    except trio.Cancelled as cancelled:
        # A nursery cancels its tasks when one of them fails; whoever stops a node on purpose may give a reason.
        reason = "fault" if cancelled.source == "nursery" else cancelled.reason or "cancelled"
        journal.note(NoteName.NODE_STOPPING, reason=reason)
        raise


def _desk(core: CoordinatorCore, ports: Ports) -> TaskDesk:
    """Build the desk of a coordinator, with what its core knows of the network."""

    def models() -> tuple[OfferedModel, ...]:
        return tuple(offered for name in core.identity.catalog.offered() if (offered := model(name)) is not None)

    def model(name: str) -> OfferedModel | None:
        now, entry = ports.clock.now(), core.identity.catalog.models[name]
        serving = [served for miner in core.roster if (served := miner.serves(name, now)) is not None]
        if not serving:
            return None
        return OfferedModel(
            model=name,
            sizes=entry.sizes,
            max_steps=entry.max_steps,
            miners=len(serving),
            warm_miners=sum(1 for served in serving if served.warm),
            works=tuple(work for work in entry.works if any(work in served.works for served in serving)),
            schedulers=entry.all_schedulers,
            max_prompt_tokens=entry.max_prompt_tokens,
        )

    def ready() -> tuple[bool, str]:
        if core.own_id() is None:
            return False, "this node is not an active coordinator in the stake table of the current epoch"
        if not models():
            return False, "no miner is connected yet"
        return True, f"{len(core.roster)} miners connected"

    def waiting(task: TaskId) -> Waiting | None:
        known = core.task(task)
        return None if known is None else Waiting(known.state.value, known.attempt + 1, dict(known.declines))

    params = core.identity.params
    return TaskDesk(ports.store, models, ready, waiting, lambda specification: price_of(specification, params))
