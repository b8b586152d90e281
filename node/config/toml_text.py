"""Writes settings as TOML: Python's standard library only reads it."""

import json
from collections.abc import Mapping


def toml_text(tree: Mapping[str, object]) -> str:
    """Write plain values first, then one ``[section]`` for each mapping.

    Raises:
        TypeError: For a value that is no text, number, truth value, list of those, or section of those.
    """
    lines = [f"{key} = {_value(value)}" for key, value in tree.items() if not isinstance(value, Mapping)]
    for name, section in tree.items():
        if isinstance(section, Mapping):
            lines += ["", f"[{name}]"] + [f"{key} = {_value(value)}" for key, value in section.items()]
    return "\n".join(lines) + "\n"


def _value(value: object) -> str:
    """Write one value."""
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            # JSON's escapes are TOML's, but JSON leaves DEL as it is and TOML does not allow it.
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
        case list() | tuple():
            return "[" + ", ".join(_value(item) for item in value) + "]"
        case _:
            raise TypeError(f"settings hold no {type(value).__name__}")
