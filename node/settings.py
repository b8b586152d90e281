"""This machine's choices for one node, as one frozen tree: the only thing that composition reads.

What all nodes of a network share is in ``protocol.params``; here is what may differ between two machines.
``node.config.configuration`` fills this tree from a TOML file, flags and the environment; nobody else reads those.
Rules for editors: every field has a docstring that an operator understands, a bound, and a line in
``configs/nodes/*.toml``; a field that nobody would change is a constant beside the code that uses it.
"""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, final

from pydantic import Field

from node.config.setting_section import Section as Section
from node.config.setting_types import (
    BootstrapAddress,
    EthereumAddress,
    HookAddress,
    Hours,
    IpNetwork,
    ListenAddress,
    Origin,
    RefusedWord,
    WebAddress,
    is_loopback,
)
from node.disputes.settings import DisputesSection
from protocol.params import Params
from protocol.units import Address, DurationMs
from protocol.wire.fields import ModelName

DEFAULT_MODEL = "pocket-emoji"
"""The model that comes with the package."""


class NodeRole(StrEnum):
    """What a process does on the network. Only miners and coordinators are registered on chain."""

    BOOTSTRAP = "bootstrap"
    COORDINATOR = "coordinator"
    MINER = "miner"


@final
class ChainSection(Section):
    """The chain that holds the staking contract. Every role needs it: admission is by stake."""

    rpc_urls: Annotated[tuple[WebAddress, ...], Field(min_length=1, max_length=16)]
    """JSON-RPC addresses of chain nodes; the next one is asked when one fails."""
    chain_id: Annotated[int, Field(ge=1, lt=2**63)]
    """The chain's id. A chain node with another id is refused, so that a wrong address cannot mislead us."""
    staking: EthereumAddress
    """Address of the staking contract."""
    start_block: Annotated[int, Field(ge=0, lt=2**63)] = 0
    """Block of the contract's deployment: nothing before it is read."""
    poll_s: Annotated[float, Field(ge=0.05, le=60)] = 2.0
    """Seconds between two questions for the chain's head. Half of the block time is enough."""
    confirmations: Annotated[int, Field(ge=1, le=1000)] = 3
    """Blocks, its own included, after which a block counts where the newest state matters: who is jailed now, and
    whether a transaction took effect. Stake tables settle for an epoch besides."""
    gas_keystore: Path | None = None
    """Encrypted key (Web3 secret storage v3) of an account that pays for this node's transactions with the chain's
    own coin. Never the node's key, and one node's alone. Where left out the node makes no transactions."""
    gas_password_file: Path | None = None
    """File with its password, readable by the owner only; a question on the terminal where left out."""
    max_fee_gwei: Annotated[float, Field(gt=0, le=1_000_000)] = 500.0
    """Most that one gas of a transaction may cost (gwei); dearer, it waits until gas is cheaper."""
    bump_after_s: Annotated[float, Field(ge=0.1, le=86_400)] = 60.0
    """How long (s) a transaction may wait to be mined before it is sent again with higher fees."""
    prove: bool = True
    """With a gas key: show statements that contradict each other to the Slashing contract, which slashes their signer
    and pays this node's owner a bounty. Without, they are kept: ``cuckoo evidence``."""
    prove_gas_gwei: Annotated[float, Field(ge=0, le=1_000_000)] = 100.0
    """While one gas costs more (gwei), such evidence waits, for at most 14 days. A proof takes about 250,000 gas."""
    proofs_per_day: Annotated[int, Field(ge=0, le=1000)] = 4
    """Most proofs that are sent in 24 hours; the others wait."""

    @property
    def staking_address(self) -> Address:
        """The staking contract's address as 20 bytes."""
        return Address(bytes.fromhex(self.staking[2:]))


@final
class OverlaySection(Section):
    """How this node takes part in the peer-to-peer network."""

    listen: Annotated[tuple[ListenAddress, ...], Field(min_length=1, max_length=8)] = ("/ip4/127.0.0.1/tcp/0",)
    """Where to listen. Port 0 takes a free one; a bootstrap or coordinator wants a fixed one."""
    announce: Annotated[tuple[ListenAddress, ...], Field(max_length=8)] = ()
    """Addresses to tell others instead of those listened on, for a node behind a port forwarding."""
    bootstrap: Annotated[tuple[BootstrapAddress, ...], Field(max_length=32)] = ()
    """Entry points with their peer ids. One that is alive is enough to join."""
    max_connections: Annotated[int, Field(ge=8, le=10_000)] = 2_000
    """Most connections at once; each costs some 60 kB of memory and a descriptor. A coordinator has one with each miner
    that it works with: those that come when it is full are not heard."""
    relays: Annotated[tuple[BootstrapAddress, ...], Field(max_length=4)] = ()
    """Relays through which others reach this node, for one that nobody can dial: no public address, no open port. It
    then tells its addresses there instead of those listened on."""
    relay: bool = False
    """Carry the connections of registered nodes that nobody can dial. Bootstraps and coordinators alone do so."""
    relay_circuits: Annotated[int, Field(ge=1, le=10_000)] = 256
    """Most such connections at once; strangers get half of them."""
    relay_circuit_s: Annotated[int, Field(ge=60, le=86_400)] = 3600
    """One ends after this (s), and its ends make another."""
    relay_circuit_mb: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    """One ends after so many MB of both directions."""


@final
class KeySection(Section):
    """The node's hot key: its libp2p identity and its registration in the staking contract."""

    keystore: Path | None = None
    """Encrypted key (Web3 secret storage v3); ``key.json`` in the data folder where left out."""
    password_file: Path | None = None
    """File with the keystore's password, readable by the owner only. Where left out: the systemd credential
    ``cuckoo-password``, or a question on the terminal."""


@final
class HttpSection(Section):
    """The HTTP gateway of a coordinator."""

    host: Annotated[str, Field(min_length=1, max_length=253)] = "127.0.0.1"
    """Address to listen on. ``0.0.0.0`` serves other machines, those that send an API key: put TLS in front."""
    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """TCP port, 0 for a free one."""
    require_key: bool | None = None
    """Serve only apps that send an API key of ``keys_file``; otherwise any key, or none, will do. Where left out: false
    if only programs of this machine can call, on loopback without ``public_url`` and ``trusted_proxies``; else true."""
    keys_file: Path | None = None
    """Hashes of API keys, as ``cuckoo apikey`` writes it; ``api-keys.json`` in the data folder where left out. A
    running node notices when it changes."""
    cors_origins: Annotated[tuple[Origin, ...], Field(max_length=64)] = ()
    """Origins of web pages that may call from a browser, such as ``https://app.example.org``; ``*`` is all. None where
    left out."""
    drain_s: Annotated[float, Field(ge=0, le=600)] = 6.0
    """How long (s) calls that wait for pictures may end when the node is told to stop; no new tasks are taken then.
    What is not done by then is answered 503, and goes on after the restart if its app sent an Idempotency-Key."""
    public_url: WebAddress | None = None
    """Address under which apps reach this gateway, where it stands behind a proxy."""
    sizes: Literal["offered", "nearest"] = "offered"
    """What becomes of a size that a model does not draw: ``offered`` refuses it and lists those that it does;
    ``nearest`` draws the offered one of the nearest proportions, for apps with one written into them."""
    trusted_proxies: Annotated[tuple[IpNetwork, ...], Field(max_length=64)] = ()
    """Addresses or networks of reverse proxies whose ``X-Forwarded-For`` is believed. Without it, all who call
    through a proxy without an API key are one caller, who may read and stop each other's tasks."""


@final
class SubmitSection(Section):
    """Apps that come over the overlay itself, with no HTTP: ``cuckoo submit --bootstrap``."""

    enabled: bool = True
    """Serve them."""
    require_key: bool | None = None
    """As ``http.require_key``. Where left out: true unless ``overlay.listen`` is loopback, and nothing else told."""
    sealed: bool | None = None
    """Take orders that only their app and the winner can read. Left out: true unless ``content`` has somebody look."""


@final
class PortalSection(Section):
    """The page for stakers and passers-by that a coordinator serves beside its API."""

    enabled: bool = True
    """Serve it. It shows what is public anyway, asks for no key, and lets nobody act but with his own wallet."""
    chain_name: Annotated[str, Field(min_length=1, max_length=64)] = "Chain of this network"
    """What people call the chain."""
    chain_coin: Annotated[str, Field(min_length=2, max_length=6, pattern=r"^[A-Za-z0-9]+$")] = "ETH"
    """Symbol of the chain's own coin, which pays for gas."""
    wallet_rpc_url: WebAddress | None = None
    """Public JSON-RPC address that the page offers to wallets which do not know the chain. ``chain.rpc_urls`` are
    never shown to anybody, since they may hold keys."""


@final
class EngineSection(Section):
    """The generator of a miner."""

    kind: Literal["diffusion", "instant"] = "diffusion"
    """``diffusion`` runs models with diffusers; ``instant`` draws a tiny valid picture without GPU work, for
    measuring and testing the network."""
    models: Annotated[tuple[ModelName, ...], Field(min_length=1, max_length=64)] = (DEFAULT_MODEL,)
    """Models of the catalog to serve."""
    model_folders: Annotated[Mapping[ModelName, Path], Field(max_length=64)] = Field(default_factory=dict)
    """Folder of a model, in diffusers layout, by its name: for models that are neither pulled nor in the package."""
    pulled_models: Path | None = None
    """Folder into which ``cuckoo models pull`` puts models, each under its name; None for ``~/.cuckoo/models``."""
    pulled_limit_gb: Annotated[float, Field(ge=0, le=1_000_000)] = 0.0
    """Most that pulled models may take of the disk together (GB); 0 for as much as there is. ``cuckoo models pull``
    with these settings refuses what goes beyond, and says what can be removed."""
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    """CPU threads; 0 means cores ÷ ``engines_on_machine``, or one where more do not pay, as for small models."""
    engines_on_machine: Annotated[int, Field(ge=1, le=1024)] = 1
    """How many engines share this machine. Wrong on a CPU, it costs far more than it sounds: three engines
    with two threads each on two cores take 40 s for what takes 1 s with one thread."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d{1,2})?)$")] = "auto"
    """``auto`` takes the first GPU, or the CPU where there is none; ``cpu``, ``cuda``, ``cuda:1``."""
    precision: Literal["auto", "float32", "float16", "bfloat16"] = "auto"
    """Numbers in which models draw: ``auto`` is what the catalog says for a GPU, and float32 on a CPU."""
    channels_last: Literal["auto", "on", "off"] = "auto"
    """Order of channels in convolutions: ``auto`` is last on a GPU in 16 bits, where they are fastest so."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Compile the network that runs at every step (needs a C++ compiler): ``auto`` does not. Each size and batch takes
    a minute when it first comes, and is some tens of percent faster then; for small models drawn singly much more."""
    attention: Literal["auto", "sdpa", "sliced"] = "auto"
    """``auto`` is torch's own scaled dot product, sliced where a model is offloaded layer by layer. ``sliced`` takes
    less memory and more time."""
    offload: Literal["auto", "none", "model", "sequential"] = "auto"
    """Keep parts of a model in the machine's memory and bring them to the GPU when they run: ``auto`` does so where
    a model does not fit, by whole parts or, for small cards, layer by layer, which is many times slower."""
    memory_limit_gb: Annotated[float, Field(ge=0, le=10_000)] = 0.0
    """Most memory (GB) of the GPU for all models, so that something else can use the rest; 0 for all of it."""
    models_in_memory: Annotated[int, Field(ge=0, le=64)] = 0
    """Most models on the device at once; 0 for as many as fit. The one that was used longest ago leaves first, and is
    loaded again when somebody wants it."""
    batch: Annotated[int, Field(ge=0, le=64)] = 0
    """How many pictures are drawn together; 0 finds out at the start what pays (on a CPU: one by one)."""
    delay_ms: Annotated[int, Field(ge=0, le=600_000)] = 0
    """With ``instant``: how long a picture takes (ms)."""
    places: Annotated[int, Field(ge=1, le=64)] = 1
    """With ``instant``: how many pictures it draws at once, for measuring networks larger than the machine."""


@final
class MinerSection(Section):
    """The business of a miner."""

    price_floor_wei: Annotated[int, Field(ge=0, lt=2**64)] = 0
    """Least price for one pixel in one step (wei): cheaper offers are left to others."""
    blocked_coordinators: Annotated[tuple[Annotated[int, Field(ge=1, lt=2**64)], ...], Field(max_length=1024)] = ()
    """Staking ids of coordinators that this miner does not work for."""
    redeem_at_cai: Annotated[float, Field(ge=0, le=10**9)] = 100.0
    """Redeem vouchers when so much CAI can be paid out, of all coordinators together. Needs ``chain.gas_keystore``."""
    redeem_after_s: Annotated[float, Field(ge=0, le=90 * 86_400)] = 86_400.0
    """Redeem when something could be paid out for so long (s), however little it is."""
    redeem_least_cai: Annotated[float, Field(ge=0, le=10**9)] = 1.0
    """What a coordinator owes below this (CAI) is left to grow: it is not worth its gas."""
    redeem_gas_gwei: Annotated[float, Field(ge=0, le=1_000_000)] = 50.0
    """While one gas costs more (gwei), vouchers wait, for at most seven times ``redeem_after_s``. Those that press do
    not: of a coordinator that takes its escrow back, or whose escrow does not cover what it promised."""
    hours: Annotated[tuple[Hours, ...], Field(max_length=32)] = ()
    """When it takes work, in local time: ``22:00-07:00``, ``Mon-Fri 18:00-24:00``, ``Sat,Sun 00:00-24:00``. Always,
    where left out. Outside of them it ends what it has and gives the device's memory back."""
    max_temperature_c: Annotated[int, Field(ge=40, le=110)] | None = None
    """Hotter than this (degrees Celsius), an NVIDIA card gets no more work until it is five degrees cooler."""
    refused_words: Annotated[tuple[RefusedWord, ...], Field(max_length=1000)] = ()
    """Words and phrases of prompts that are not drawn here: ``word`` alone, ``word*`` with any ending."""

    @property
    def redeem_after_ms(self) -> DurationMs:
        """How long something may wait to be redeemed (ms)."""
        return DurationMs(int(self.redeem_after_s * 1000))


@final
class CoordinatorSection(Section):
    """The business of a coordinator."""

    escrow_low_cai: Annotated[float, Field(ge=0, le=10**9)] = 100.0
    """Warn when the escrow covers less than so much CAI beyond all that is promised and under way."""
    recheck_percent: Annotated[float, Field(ge=0, le=25)] = 2.0
    """Share (%) of the tasks of well-known miners that another one draws again, as ordinary tasks that are paid for."""
    recheck_newcomer_percent: Annotated[float, Field(ge=0, le=100)] = 50.0
    """The same of a miner that never passed or gave reason for doubt; it halves with each recheck that is passed. With
    both at 0 nothing is drawn again, and a miner may deliver what it likes."""
    recheck_within_s: Annotated[float, Field(ge=1, le=3600)] = 600.0
    """A tenth of this time (s) after a result at least, and this at most, a drawn task is ordered again."""
    recheck_daily_limit_cai: Annotated[float, Field(ge=0, le=10**9)] | None = None
    """Most CAI that is ordered for rechecks within 24 hours; left out: 500, or a twentieth of what tasks cost in these
    where that is more."""
    recheck_pause_days: Annotated[float, Field(ge=0, le=30)] = 7.0
    """How long (days) a miner is left out whose pictures were not what others drew, again and again."""
    recheck_with_inputs: bool = True
    """Whether tasks that begin from pictures are drawn again, too: these are kept for that, half a day at most, and go
    to one more miner."""
    recheck_must_open: bool = True
    """Whether it counts as a picture that is slightly off when a miner of a recheck shows nothing of the steps that it
    committed to while another one does. Without it, such a miner is looked at more, and nothing else follows."""


@final
class ContentSection(Section):
    """What a coordinator does not let be ordered or shown. Nothing is looked at unless one of these is set."""

    refused_words: Annotated[tuple[RefusedWord, ...], Field(max_length=1000)] = ()
    """Words and phrases of prompts that are refused: ``word`` alone, ``word*`` with any ending."""
    hook: HookAddress | None = None
    """Address of a program of yours that is asked about every prompt and picture, as the README tells."""
    hook_limit_s: Annotated[float, Field(ge=0.1, le=60)] = 5.0
    """Longest wait (s) for its answer. Without one nothing is taken or shown."""
    safety_checker: Path | None = None
    """Folder in diffusers layout with the safety checker of Stable Diffusion 1.5 (``safety_checker`` and
    ``feature_extractor``): every picture is looked at, in a process of its own, which needs the extra ``miner``."""


@final
class RecordSection(Section):
    """A record of public gossip, which ``cuckoo audit`` reads."""

    file: Path | None = None
    """Where to write it, behind what an earlier run wrote; nothing is recorded where left out."""
    max_mb: Annotated[int, Field(ge=1, le=100_000)] = 256
    """Size (MB) from which a new file begins; the old one gets ``.1`` behind its name, and so on."""
    files: Annotated[int, Field(ge=1, le=1000)] = 4
    """Most files that are kept, the present one included; the oldest is deleted."""


@final
class MetricsSection(Section):
    """Where Prometheus asks this node, beside ``/metrics`` at the API of a coordinator."""

    host: Annotated[str, Field(min_length=1, max_length=253)] = "127.0.0.1"
    """Address to listen on. What is told there is how the node is doing: keep it inside your own network."""
    port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    """TCP port for ``/metrics`` and ``/healthz``, 0 for a free one; nothing listens where left out."""


@final
class TracingSection(Section):
    """Each task as one OpenTelemetry trace over all processes that have a part in it. Needs the extra ``otel``."""

    endpoint: WebAddress | None = None
    """Where an OTLP collector takes spans over HTTP, such as ``http://127.0.0.1:4318/v1/traces``; nothing is traced
    where left out."""
    share: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Part of all tasks that is traced. The task's id decides, so nodes with the same share trace the same ones."""


@final
class LogsSection(Section):
    """What the node writes to standard error."""

    format: Literal["auto", "console", "json"] = "auto"
    """``auto``: for people on a terminal, JSON lines everywhere else."""
    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least important lines to write."""


@final
class Settings(Section):
    """All choices for one node."""

    role: NodeRole
    """What this process does."""
    data: Path
    """Folder of this node's own state. One process at a time uses it. ``~/.cuckoo/ROLE`` where left out."""
    params: Params
    """The numbers that this node shares with its network; named in the file as ``params = "mainnet"``."""
    network: Path | None = None
    """The network's file: it gives ``params``, the ``chain`` section and the entry points where they are left out."""
    catalog: Path | None = None
    """Model catalog to read in addition to the one of the package."""
    exit_with_stdin: bool = False
    """Stop when standard input closes: for a child whose parent may be killed."""
    chain: ChainSection
    overlay: OverlaySection = OverlaySection()
    key: KeySection = KeySection()
    http: HttpSection = HttpSection()
    submit: SubmitSection = SubmitSection()
    portal: PortalSection = PortalSection()
    engine: EngineSection = EngineSection()
    miner: MinerSection = MinerSection()
    coordinator: CoordinatorSection = CoordinatorSection()
    disputes: DisputesSection = DisputesSection()
    content: ContentSection = ContentSection()
    record: RecordSection = RecordSection()
    metrics: MetricsSection = MetricsSection()
    tracing: TracingSection = TracingSection()
    logs: LogsSection = LogsSection()

    @property
    def keystore(self) -> Path:
        """Where the node's key is."""
        return self.key.keystore or self.data / "key.json"

    @property
    def api_keys_file(self) -> Path:
        """Where the API keys of a coordinator are, if there are any."""
        return self.http.keys_file or self.data / "api-keys.json"

    @property
    def requires_key_to_submit(self) -> bool:
        """Whether apps that come over the overlay are served with known API keys only."""
        if self.submit.require_key is not None:
            return self.submit.require_key
        told = self.overlay.announce + self.overlay.relays
        return bool(told) or not all(is_loopback(one.split("/")[2]) for one in self.overlay.listen)

    @property
    def requires_key(self) -> bool:
        """Whether a coordinator's HTTP gateway serves known API keys only."""
        http = self.http
        if http.require_key is not None:
            return http.require_key
        return not is_loopback(http.host) or http.public_url is not None or bool(http.trusted_proxies)
