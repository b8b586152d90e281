"""Reads settings: a TOML file, flags that override it, and systemd's credential folder. Nobody else reads those.

A fault becomes one ``ConfigError`` line that names the file and key, or the flag, and says what would be right.
Rules for editors: a key that a flag can set is in ``FLAGS``; a fault never shows a pydantic message as it is.
"""

import difflib
import importlib.resources
import importlib.util
import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from node.settings import NodeRole, Settings
from protocol.errors import ConfigError
from protocol.params import Params

FLAGS: Final[Mapping[str, str]] = {
    "role": "--role",
    "data": "--data",
    "params": "--params",
    "catalog": "--catalog",
    "exit_with_stdin": "--exit-with-stdin",
    "chain.rpc_urls": "--chain-rpc",
    "chain.chain_id": "--chain-id",
    "chain.staking": "--staking",
    "chain.start_block": "--start-block",
    "overlay.listen": "--listen",
    "overlay.announce": "--announce",
    "overlay.bootstrap": "--bootstrap",
    "key.keystore": "--keystore",
    "key.password_file": "--password-file",
    "http.host": "--http-host",
    "http.port": "--http-port",
    "http.require_key": "--require-key",
    "http.keys_file": "--keys-file",
    "engine.kind": "--engine",
    "engine.models": "--model",
    "engine.model_folders": "--model-folder",
    "engine.threads": "--threads",
    "engine.device": "--device",
    "engine.delay_ms": "--delay-ms",
    "logs.format": "--json-logs",
    "logs.level": "--log-level",
}
"""Which flag of ``cuckoo node`` sets which key."""

ONLY_FOR: Final[Mapping[str, NodeRole]] = {
    "http": NodeRole.COORDINATOR,
    "engine": NodeRole.MINER,
    "miner": NodeRole.MINER,
}
"""Sections that mean something to one role only; elsewhere they are a mistake of whoever wrote the file."""

PATH_KEYS: Final = ("data", "catalog", "key.keystore", "key.password_file", "http.keys_file", "engine.model_folders")
"""Keys whose relative paths are meant from the file that holds them."""

CREDENTIAL: Final = "cuckoo-password"
"""Name of the systemd credential with the keystore's password: ``LoadCredential=cuckoo-password:/etc/…``."""

MAX_FILE_BYTES: Final = 1024 * 1024
"""Largest settings or parameter file (bytes); a larger one is some other file, named by mistake."""

Tree = dict[str, object]


def load_settings(
    config: Path | None, flags: Mapping[str, object], environ: Mapping[str, str] | None = None
) -> Settings:
    """Make the settings of one node.

    Args:
        config: TOML file, or None to go by flags alone.
        flags: Values by dotted key, as in ``FLAGS``; None means that the flag was not given.
        environ: The environment, the process's own where left out; only ``CREDENTIALS_DIRECTORY`` is read.

    Raises:
        ConfigError: With one line that names what is wrong and what would be right.
    """
    tree = _read_toml(config) if config else {}
    if config:
        _anchor_paths(tree, config.absolute().parent)
    given = {key: value for key, value in flags.items() if value is not None}
    for key, value in given.items():
        _put(tree, key, value)
    _anchor_paths(tree, Path.cwd())
    source = _Source(config, frozenset(given))
    role = _role(tree, source)
    _refuse_foreign_sections(tree, role, source)
    _fill_in(tree, role, os.environ if environ is None else environ)
    tree["params"] = _params_tree(tree, source)
    try:
        settings = Settings.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        raise ConfigError(source.explain(error.errors()[0], Settings)) from None
    _check_role(settings, source)
    return settings


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
            raise ConfigError(f"params: no network is called {name!r}: give one of {_list(shipped)}, or FILE.toml")
        path = shipped[name]
    else:
        path = (base or Path.cwd()) / Path(name).expanduser()
    tree = _read_toml(path)
    try:
        return Params.model_validate_json(json.dumps(tree, default=str))
    except ValidationError as error:
        raise ConfigError(_Source(path, frozenset()).explain(error.errors()[0], Params)) from None


def _shipped(folder: str) -> list[Path]:
    """List the TOML files of a folder of the installed ``configs`` package."""
    with importlib.resources.as_file(importlib.resources.files("configs") / folder) as path:
        return sorted(path.glob("*.toml"))


def example_file(name: str) -> Path:
    """Give the path of a commented example, as ``miner`` for ``configs/nodes/miner.toml``."""
    found = {path.name.removesuffix(".toml"): path for path in _shipped("nodes")}
    if name not in found:
        raise ConfigError(f"no example is called {name!r}: give one of {_list(found)}")
    return found[name]


def _read_toml(path: Path) -> Tree:
    """Read a TOML file of sane size."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_FILE_BYTES} bytes, which no settings file is")
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {str(error).splitlines()[0]}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None


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


def _role(tree: Tree, source: "_Source") -> NodeRole:
    """Read the role first: defaults and allowed sections depend on it."""
    value = tree.get("role")
    if value is None:
        raise ConfigError(source.missing("role"))
    try:
        return NodeRole(str(value))
    except ValueError:
        raise ConfigError(f"{source.name('role')}: {value!r} is not one of {_list(NodeRole)}") from None


def _refuse_foreign_sections(tree: Tree, role: NodeRole, source: "_Source") -> None:
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
    credentials = environ.get("CREDENTIALS_DIRECTORY")
    if credentials and _get(tree, "key.password_file") is None:
        credential = Path(credentials) / CREDENTIAL
        if credential.exists():
            _put(tree, "key.password_file", str(credential))


def _params_tree(tree: Tree, source: "_Source") -> Tree:
    """Read the network's numbers that ``params`` names."""
    value = tree.get("params", "mainnet")
    if not isinstance(value, str | Path):
        raise ConfigError(f"{source.name('params')}: must be text: a network's name, or FILE.toml")
    from_file = source.config is not None and "params" not in source.flags
    base = source.config.absolute().parent if from_file and source.config else None
    return load_params(str(value), base).model_dump()


def _check_role(settings: Settings, source: "_Source") -> None:
    """Check what hangs together: role, entry points, keys, installed extras, folders."""
    if settings.role is not NodeRole.BOOTSTRAP and not settings.overlay.bootstrap:
        raise ConfigError(source.missing("overlay.bootstrap"))
    if settings.http.require_key and settings.http.keys_file is None:
        raise ConfigError(f"{source.name('http.require_key')}: needs API keys: set http.keys_file or --keys-file FILE")
    if settings.http.keys_file is not None and not settings.http.keys_file.is_file():
        raise ConfigError(f"{source.name('http.keys_file')}: {settings.http.keys_file} does not exist")
    if settings.catalog is not None and not settings.catalog.is_file():
        raise ConfigError(f"{source.name('catalog')}: {settings.catalog} does not exist")
    for model, folder in settings.engine.model_folders.items():
        if not folder.is_dir():
            raise ConfigError(f"{source.name('engine.model_folders')}: {model}: the folder {folder} does not exist")
    if settings.data.exists() and not settings.data.is_dir():
        raise ConfigError(f"{source.name('data')}: {settings.data} is a file; name a folder")
    if settings.role is NodeRole.COORDINATOR:
        _require_extra(settings.role, "coordinator", ("fastapi", "hypercorn"))
    elif settings.role is NodeRole.MINER and settings.engine.kind == "diffusion":
        _require_extra(settings.role, "miner", ("torch", "diffusers", "transformers", "safetensors", "PIL"))


def _require_extra(role: NodeRole, extra: str, modules: tuple[str, ...]) -> None:
    """Check, without importing them, that the packages of an extra are installed."""
    absent = [module for module in modules if importlib.util.find_spec(module) is None]
    if absent:
        raise ConfigError(f"role {role} needs {absent[0]}: install it with pip install 'cuckoo-overlay[{extra}]'")


class _Source:
    """Where values came from, so that a fault names the flag that was typed or the file and key."""

    def __init__(self, config: Path | None, flags: frozenset[str]) -> None:
        self.config = config
        self.flags = flags

    def name(self, key: str) -> str:
        """Name a dotted key as the person who set it knows it."""
        if key in self.flags:
            return FLAGS.get(key, key)
        return f"{self.config}: {key}" if self.config else key

    def missing(self, key: str) -> str:
        """Say that a key is needed, and the ways to give it."""
        flag = FLAGS.get(key)
        where = f"set it in {self.config}" if self.config else "set it in a --config file"
        return f"{key} is missing: {where}" + (f", or give {flag}" if flag else "")

    def explain(self, fault: ErrorDetails, model: type[BaseModel]) -> str:
        """Turn the first fault that pydantic found into one line for people."""
        parts = [str(part) for part in fault["loc"]]
        key = ".".join(part for part in parts if not part.isdigit())
        value = fault["input"]
        context = fault.get("ctx", {})
        match fault["type"]:
            case "missing":
                return self.missing(key)
            case "extra_forbidden":
                return f"{self.name(key)}: unknown key{_did_you_mean(parts, model)}"
            case "value_error":
                return f"{self.name(key)}: {context['error']}"
            case "literal_error" | "enum":
                return f"{self.name(key)}: {value!r} is not one of {context['expected'].replace(' or ', ', ')}"
            case "greater_than_equal":
                return f"{self.name(key)}: {value!r} is too small: at least {context['ge']}"
            case "less_than_equal" | "less_than":
                most = context.get("le", context.get("lt"))
                return f"{self.name(key)}: {value!r} is too large: {'at most' if 'le' in context else 'below'} {most}"
            case "too_short" | "string_too_short":
                return self.missing(key)
            case "string_pattern_mismatch":
                return f"{self.name(key)}: {value!r} does not have the form {context['pattern']}"
            case kind if kind in WANTED:
                return f"{self.name(key)}: must be {WANTED[kind]}, not {value!r}"
            case _:
                return f"{self.name(key)}: {fault['msg']}"


WANTED: Final[Mapping[str, str]] = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text in quotes",
    "bool_type": "true or false",
    "path_type": "a path in quotes",
    "tuple_type": "a list in [ ]",
    "model_type": "a [section]",
    "model_attributes_type": "a [section]",
}
"""What each kind of pydantic's type faults asks for, in the words of TOML."""


def _did_you_mean(parts: list[str], model: type[BaseModel]) -> str:
    """Suggest the known key that is nearest to an unknown one."""
    for part in parts[:-1]:
        inner = model.model_fields[part].annotation if part in model.model_fields else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    near = difflib.get_close_matches(parts[-1], model.model_fields, n=1)
    return f" (did you mean {near[0]!r}?)" if near else f": known are {_list(model.model_fields)}"


def _list(names: Iterable[object]) -> str:
    """Write names one after another."""
    return ", ".join(str(name) for name in names)
