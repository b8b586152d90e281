"""Words for what is wrong with a setting, so that the person who typed it knows where and how to mend it.

Rules for editors: a key that a flag can set is in ``FLAGS``; a fault is one line, and names the flag or the file and
key, what is wrong, and what would be right; a kind of fault that people meet has words of its own.
"""

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from pydantic import BaseModel
from pydantic_core import ErrorDetails

FLAGS: Final[Mapping[str, str]] = {
    "role": "--role",
    "data": "--data",
    "network": "--network",
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
    "engine.pulled_models": "--models-folder",
    "engine.threads": "--threads",
    "engine.device": "--device",
    "engine.delay_ms": "--delay-ms",
    "engine.places": "--places",
    "record.file": "--record",
    "logs.format": "--json-logs",
    "logs.level": "--log-level",
}
"""Which flag of ``cuckoo node`` sets which key."""

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

FORMS: Final[Mapping[str, str]] = {
    "engine.device": "auto, cpu, cuda or one of several cards, as cuda:1",
    "portal.chain_coin": "made of letters and digits alone",
}
"""What texts that have to match a pattern look like, for people."""


class Source:
    """Where values came from, so that a fault names the flag that was typed or the file and key."""

    def __init__(self, config: Path | None, flags: frozenset[str]) -> None:
        """Remember the file, and the dotted keys that flags gave."""
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

    def unknown(self, parts: list[str], model: type[BaseModel]) -> str:
        """Say that nothing reads a key, and which may be meant."""
        return f"{self.name('.'.join(parts))}: unknown key{_did_you_mean(parts, model)}"

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
                return self.unknown(parts, model)
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
                return f"{self.name(key)}: {value!r} is not {FORMS.get(key, 'of the form ' + context['pattern'])}"
            case kind if kind in WANTED:
                return f"{self.name(key)}: must be {WANTED[kind]}, not {value!r}"
            case _:
                return f"{self.name(key)}: {fault['msg']}"


def _did_you_mean(parts: list[str], model: type[BaseModel]) -> str:
    """Suggest the known key that is nearest to an unknown one."""
    for part in parts[:-1]:
        inner = model.model_fields[part].annotation if part in model.model_fields else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    near = difflib.get_close_matches(parts[-1], model.model_fields, n=1)
    return f" (did you mean {near[0]!r}?)" if near else f": known are {one_of(model.model_fields)}"


def one_of(names: Iterable[object]) -> str:
    """Write names one after another."""
    return ", ".join(str(name) for name in names)
