"""Reads settings: a TOML file, flags that override it, and systemd's credential folder. Nobody else reads those.

A fault becomes one ``ConfigError`` line that names the file and key, or the flag, and says what would be right.
``node.config.setting_faults`` words them.
"""

import importlib.resources
import importlib.util
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from node.config.setting_faults import FLAGS, Source, one_of
from node.config.toml_file import read_toml
from node.network_file import read_network
from node.settings import NodeRole, Settings
from protocol.errors import ConfigError
from protocol.params import Params

DEVNET: Final = "devnet"
"""How a network by the parameters ``minimal`` calls itself."""
ONLY_FOR: Final[Mapping[str, NodeRole]] = {
    "http": NodeRole.COORDINATOR,
    "submit": NodeRole.COORDINATOR,
    "content": NodeRole.COORDINATOR,
    "portal": NodeRole.COORDINATOR,
    "engine": NodeRole.MINER,
    "miner": NodeRole.MINER,
    "coordinator": NodeRole.COORDINATOR,
}
"""Sections that mean something to one role only; elsewhere they are a mistake of whoever wrote the file."""

PATH_KEYS: Final = (
    "data",
    "network",
    "catalog",
    "chain.gas_keystore",
    "chain.gas_password_file",
    "key.keystore",
    "key.password_file",
    "http.keys_file",
    "record.file",
    "engine.model_folders",
    "engine.pulled_models",
    "content.safety_checker",
)
"""Keys whose relative paths are meant from the file that holds them."""

CREDENTIAL: Final = "cuckoo-password"
"""Name of the systemd credential with the keystore's password: ``LoadCredential=cuckoo-password:/etc/…``."""

CREDENTIALS: Final[Mapping[str, str]] = {
    "key.password_file": CREDENTIAL,
    "chain.gas_password_file": "cuckoo-gas-password",
}
"""Which credential gives which key, where nothing else does."""

Tree = dict[str, object]


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and whence each of them came."""

    settings: Settings
    origins: Mapping[str, str]
    """Dotted key -> file, flag or variable that gave it; what is not here is a default."""


def load_settings(
    config: Path | None, flags: Mapping[str, object], environ: Mapping[str, str] | None = None
) -> Settings:
    """Make the settings of one node.

    Args:
        config: TOML file, or None to go by flags alone.
        flags: Values by dotted key, as in ``FLAGS``; None means that the flag was not given.
        environ: The environment, the process's own where left out: ``CREDENTIALS_DIRECTORY``, and ``CUCKOO_NETWORK``
            where neither a file nor a flag names a network or a chain.

    Raises:
        ConfigError: With one line that names what is wrong and what would be right.
    """
    return load_with_origins(config, flags, environ).settings


def load_with_origins(
    config: Path | None, flags: Mapping[str, object], environ: Mapping[str, str] | None = None
) -> Loaded:
    """Make the settings of one node as ``load_settings`` does, and say whence each came."""
    environ = os.environ if environ is None else environ
    tree = read_toml(config) if config else {}
    if config and "contracts" in tree and "role" not in tree:
        raise ConfigError(
            f"{config}: describes a network, and no node: name it with --network, or as network in a node's settings"
        )
    if config:
        _anchor_paths(tree, config.absolute().parent)
    origins = dict.fromkeys(_leaves(tree), str(config))
    given = {key: value for key, value in flags.items() if value is not None}
    for key, value in given.items():
        _put(tree, key, value)
        origins[key] = FLAGS.get(key, key)
    if config is None and not {"network", "chain"} & set(tree) and environ.get("CUCKOO_NETWORK"):
        tree["network"] = environ["CUCKOO_NETWORK"]
        origins["network"] = "CUCKOO_NETWORK"
    _anchor_paths(tree, Path.cwd())
    source = Source(config, frozenset(given))
    role = _role(tree, source)
    _refuse_foreign_sections(tree, role, source)
    _join_network(tree, source)
    origins = {key: str(tree["network"]) for key in _leaves(tree) if "network" in tree} | origins
    _fill_in(tree, role, environ)
    origins = {key: "systemd credential" for key in CREDENTIALS if _get(tree, key) is not None} | origins
    tree["params"] = _params_tree(tree, source)
    try:
        settings = Settings.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        raise ConfigError(source.explain(error.errors()[0], Settings)) from None
    _check_role(settings, source)
    return Loaded(settings, origins)


def load_params(name: str, base: Path | None = None) -> Params:
    """Read the numbers of a network: a name of ``configs/params``, or the path of a TOML file.

    Args:
        name: ``mainnet``, ``testnet``, ``minimal``, or a path that ends in ``.toml``.
        base: Folder from which a relative path is meant.

    Raises:
        ConfigError: When there is no such file or a number in it is wrong.
    """
    if not name.endswith(".toml"):
        shipped = {path.name.removesuffix(".toml"): path for path in _shipped("params")}
        if name not in shipped:
            hint = "; a devnet's are called minimal" if name == DEVNET else ""
            raise ConfigError(
                f"params: no network is called {name!r}: give one of {one_of(shipped)}, or FILE.toml{hint}"
            )
        path = shipped[name]
    else:
        path = (base or Path.cwd()) / Path(name).expanduser()
    tree = read_toml(path)
    try:
        return Params.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        raise ConfigError(Source(path, frozenset()).explain(error.errors()[0], Params)) from None


def model_folders_from(pairs: Sequence[str] | None) -> dict[str, str] | None:
    """Read ``MODEL=FOLDER`` flags.

    Raises:
        ConfigError: When one of them has another form.
    """
    if not pairs:
        return None
    folders: dict[str, str] = {}
    for pair in pairs:
        model, equals, folder = pair.partition("=")
        if not (model and equals and folder):
            raise ConfigError(f"--model-folder: {pair!r} does not have the form MODEL=FOLDER")
        folders[model] = folder
    return folders


def _shipped(folder: str) -> list[Path]:
    """List the TOML files of a folder of the installed ``configs`` package."""
    with importlib.resources.as_file(importlib.resources.files("configs") / folder) as path:
        return sorted(path.glob("*.toml"))


def example_file(name: str) -> Path:
    """Give the path of a commented example, as ``miner`` for ``configs/nodes/miner.toml``."""
    found = {path.name.removesuffix(".toml"): path for path in _shipped("nodes")}
    if name not in found:
        raise ConfigError(f"no example is called {name!r}: give one of {one_of(found)}")
    return found[name]


def _get(tree: Tree, key: str) -> object:
    """Find the value of a dotted key, None where it is absent."""
    section, _, leaf = key.rpartition(".")
    branch = tree.get(section) if section else tree
    return branch.get(leaf) if isinstance(branch, dict) else None


def _put(tree: Tree, key: str, value: object) -> None:
    """Set the value of a dotted key. A section that is no table stays as it is, for validation to name."""
    section, _, leaf = key.rpartition(".")
    branch = tree.setdefault(section, {}) if section else tree
    if isinstance(branch, dict):
        branch[leaf] = value


def _leaves(tree: Tree) -> Iterator[str]:
    """Go through the dotted keys that have a value."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from (f"{key}.{leaf}" for leaf in value)
        else:
            yield key


def _anchor_paths(tree: Tree, folder: Path) -> None:
    """Make every relative path absolute as seen from ``folder``, and expand ``~``."""

    def anchored(value: object) -> object:
        return str(folder / Path(value).expanduser()) if isinstance(value, str | Path) and str(value) else value

    for key in PATH_KEYS:
        value = _get(tree, key)
        if isinstance(value, Mapping):
            _put(tree, key, {name: anchored(item) for name, item in value.items()})
        elif value is not None:
            _put(tree, key, anchored(value))


def _role(tree: Tree, source: Source) -> NodeRole:
    """Read the role first: defaults and allowed sections depend on it."""
    value = tree.get("role")
    if value is None:
        unknown = next((key for key in tree if key not in Settings.model_fields), None)
        raise ConfigError(source.missing("role") if unknown is None else source.unknown([unknown], Settings))
    try:
        return NodeRole(str(value))
    except ValueError:
        raise ConfigError(f"{source.name('role')}: {value!r} is not one of {one_of(NodeRole)}") from None


def _refuse_foreign_sections(tree: Tree, role: NodeRole, source: Source) -> None:
    """Refuse settings that the role would never read."""
    for section, owner in ONLY_FOR.items():
        branch = tree.get(section)
        if branch is None or owner is role:
            continue
        keys = [f"{section}.{key}" for key in branch] if isinstance(branch, dict) else []
        typed = [FLAGS[key] for key in keys if key in source.flags]
        what = typed[0] if typed else source.name(section)
        raise ConfigError(f"{what}: only a {owner} reads this, and the role is {role}: leave it out")


def _fill_in(tree: Tree, role: NodeRole, environ: Mapping[str, str]) -> None:
    """Add what follows from the role and from systemd."""
    tree.setdefault("data", str(Path.home() / ".cuckoo" / role))
    tree.setdefault("chain", {})  # so that what is missed is a key that can be given, not a section
    folder = environ.get("CREDENTIALS_DIRECTORY")
    for key, name in CREDENTIALS.items() if folder else ():
        credential = Path(folder or "") / name
        is_wanted = key == "key.password_file" or _get(tree, "chain.gas_keystore") is not None
        if is_wanted and _get(tree, key) is None and credential.exists():
            _put(tree, key, str(credential))


def _join_network(tree: Tree, source: Source) -> None:
    """Take chain, contract, numbers and entry points from the network's file, where nothing else was said."""
    named = tree.get("network")
    if named is None:
        return
    path = Path(str(named))
    network = read_network(path, source.name("network"))
    params = network.params
    known: Mapping[str, object] = {
        "params": str(path.parent / params) if params.endswith(".toml") else params,
        "chain.rpc_urls": list(network.chain.rpc_urls),
        "chain.chain_id": network.chain.chain_id,
        "chain.staking": network.contracts.staking,
        "chain.start_block": network.contracts.start_block,
        "overlay.bootstrap": list(network.bootstrap),
    }
    for key, value in known.items():
        if _get(tree, key) is None and value != []:
            _put(tree, key, value)


def _params_tree(tree: Tree, source: Source) -> Tree:
    """Read the network's numbers that ``params`` names."""
    value = tree.get("params", "mainnet")
    if not isinstance(value, str | Path):
        raise ConfigError(f"{source.name('params')}: must be text: a network's name, or FILE.toml")
    from_file = source.config is not None and "params" not in source.flags
    base = source.config.absolute().parent if from_file and source.config else None
    return load_params(str(value), base).model_dump()


def _check_role(settings: Settings, source: Source) -> None:
    """Check what hangs together: role, entry points, keys, installed extras, folders."""
    if settings.role is not NodeRole.BOOTSTRAP and not settings.overlay.bootstrap:
        raise ConfigError(source.missing("overlay.bootstrap"))
    if settings.role is NodeRole.MINER and settings.overlay.relay:
        raise ConfigError(f"{source.name('overlay.relay')}: a miner carries nobody's connections: leave it out")
    if settings.catalog is not None and not settings.catalog.is_file():
        raise ConfigError(f"{source.name('catalog')}: {settings.catalog} does not exist")
    if settings.engine.places > 1 and settings.engine.kind != "instant":
        raise ConfigError(f"{source.name('engine.places')}: only instant draws several pictures at once: leave it out")
    for model, folder in settings.engine.model_folders.items():
        if not folder.is_dir():
            raise ConfigError(f"{source.name('engine.model_folders')}: {model}: the folder {folder} does not exist")
    if settings.data.exists() and not settings.data.is_dir():
        raise ConfigError(f"{source.name('data')}: {settings.data} is a file; name a folder")
    if settings.tracing.endpoint is not None and not _is_installed("opentelemetry.exporter.otlp.proto.http"):
        what = source.name("tracing.endpoint")
        raise ConfigError(f"{what}: OpenTelemetry is missing: install it with pip install 'cuckoo-overlay[otel]'")
    if settings.role is NodeRole.COORDINATOR:
        _require_extra(settings.role, "coordinator", ("fastapi", "hypercorn"))
    elif settings.role is NodeRole.MINER and settings.engine.kind == "diffusion":
        _require_extra(settings.role, "miner", ("torch", "diffusers", "transformers", "safetensors", "PIL"))


def _require_extra(role: NodeRole, extra: str, modules: tuple[str, ...]) -> None:
    """Check, without importing them, that the packages of an extra are installed."""
    absent = [module for module in modules if not _is_installed(module)]
    if absent:
        raise ConfigError(f"role {role} needs {absent[0]}: install it with pip install 'cuckoo-overlay[{extra}]'")


def _is_installed(module: str) -> bool:
    """Say whether a module can be imported, without importing it; only packages above it are."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # such a package is missing
        return False
