"""How this program is called: by itself, and by the person who reads what it prints."""

import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

_TYPED: Final = re.compile(r"(?<![`/.\w-])cuckoo (?=[a-z-])")
"""``cuckoo`` where a text means a command to type, and not part of a path or, in backquotes, a name."""


def own_command() -> list[str]:
    """Give the command that runs this program: ``cuckoo`` beside the interpreter, else the module."""
    script = Path(sys.executable).with_name("cuckoo")
    return [str(script)] if script.is_file() else [sys.executable, "-m", "node"]


def shown_command() -> str:
    """Give that command as a person types it in the current folder: ``cuckoo`` only where a shell finds ours."""
    script = Path(sys.executable).with_name("cuckoo")
    if not script.is_file():
        return f"{shlex.quote(sys.executable)} -m node"
    found = shutil.which("cuckoo")
    if found is not None and Path(found).samefile(script):
        return "cuckoo"
    if not script.is_relative_to(Path.cwd()):
        return shlex.quote(str(script))
    relative = script.relative_to(Path.cwd())
    return shlex.quote(str(relative) if len(relative.parts) > 1 else f"./{relative}")


def with_shown_command(text: str) -> str:
    """Give a text in which every command to type stands as the reader types it here."""
    shown = shown_command()
    return _TYPED.sub(lambda _: f"{shown} ", text)
