"""The node's end: takes one request a connection, hands it on, and answers."""

import json
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, final

import trio

from node.adapters.control.place import FOLDER, MAX_FRAME_BYTES, short_name
from protocol.errors import ConfigError

REQUEST_LIMIT_S: Final = 5.0
"""How long (s) a request may take to come and its answer to leave."""
MAX_REQUESTS: Final = 8
"""Requests that are heard at once; more wait in the kernel."""

Answer = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""What to say to a request; it raises ``ConfigError`` for one that makes no sense."""  # Any: what JSON holds


@final
class UnixControl:
    """Listens in the data folder of one node, which its store holds for this process alone."""

    def __init__(self, data: Path) -> None:
        """Name the node's data folder."""
        self._folder = data / FOLDER

    async def run(self, answer: Answer, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled; reports started once commands are heard.

        Raises:
            ConfigError: The socket cannot be made.
        """
        try:
            # First the folder, closed to others: between the making of a socket and its permissions lies a moment.
            self._folder.mkdir(parents=True, exist_ok=True)
            self._folder.chmod(0o700)
            with short_name(self._folder) as name:
                with suppress(FileNotFoundError):
                    os.unlink(name)  # noqa: PTH108  of a run that was killed; Path would ask for a thread
                socket = trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM)
                await socket.bind(name)
                socket.listen(MAX_REQUESTS)
        except OSError as error:
            raise ConfigError(
                f"{self._folder}: no control socket can be made there ({error.strerror or error}): "
                "give the node another data folder"
            ) from error
        places = trio.CapacityLimiter(MAX_REQUESTS)

        async def serve(stream: trio.SocketStream) -> None:
            async with places, stream:
                with trio.move_on_after(REQUEST_LIMIT_S):
                    await _serve(stream, answer)

        await trio.serve_listeners(serve, [trio.SocketListener(socket)], task_status=_Forgetting(task_status))


class _Forgetting:
    """Reports started without the listeners that trio would hand on."""

    def __init__(self, task_status: trio.TaskStatus[None]) -> None:
        self._task_status = task_status

    def started(self, value: object = None) -> None:
        del value
        self._task_status.started()


async def _serve(stream: trio.SocketStream, answer: Answer) -> None:
    """Read one line, answer with one, and close."""
    try:
        said: Mapping[str, Any] = await answer(await _request(stream))
    except ConfigError as error:
        said = {"error": str(error)}
    try:
        await stream.send_all(json.dumps(said).encode() + b"\n")
    except trio.BrokenResourceError:
        return  # whoever asked has left


async def _request(stream: trio.SocketStream) -> dict[str, Any]:
    """Read a line that holds a JSON object.

    Raises:
        ConfigError: It is none, or too long.
    """
    data = bytearray()
    while not data.endswith(b"\n") and len(data) <= MAX_FRAME_BYTES:
        try:
            piece = await stream.receive_some()
        except trio.BrokenResourceError:
            break
        if not piece:
            break
        data += piece
    try:
        request = json.loads(data)
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        raise ConfigError("a request is a JSON object on one line")
    return request
