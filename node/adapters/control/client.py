"""The owner's end: asks a running node one thing."""

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from node.adapters.control.place import FOLDER, MAX_FRAME_BYTES, short_name
from protocol.errors import ConfigError, Unavailable

ANSWER_LIMIT_S: Final = 5.0
"""How long (s) a node may take to answer: it does so at once unless it hangs."""


def ask(data: Path, request: Mapping[str, Any]) -> dict[str, Any]:  # Any: what JSON holds
    """Send one request to the node whose data folder this is, and give its answer.

    Raises:
        ConfigError: No node runs there, it is another user's, or it says that the request makes no sense.
        Unavailable: It does not answer.
    """
    try:
        with short_name(data / FOLDER) as name, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(ANSWER_LIMIT_S)
            line.connect(name)
            line.sendall(json.dumps(request).encode() + b"\n")
            answer = bytearray()
            while (piece := line.recv(65_536)) and len(answer) <= MAX_FRAME_BYTES:
                answer += piece
    except PermissionError as error:
        raise ConfigError(f"the node with the data folder {data} belongs to another user: be that user") from error
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
        raise ConfigError(f"no node runs with the data folder {data}: start it, or name another folder") from error
    except OSError as error:
        raise Unavailable(f"the node with the data folder {data} does not answer ({error})") from error
    try:
        said = json.loads(answer)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise Unavailable(f"the node with the data folder {data} does not answer")
    if "error" in said:
        raise ConfigError(str(said["error"]))
    return said
