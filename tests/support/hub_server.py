"""A small Hugging Face hub on this machine: lists a repository's tree and serves its files, as far as a pull asks."""

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from urllib.parse import unquote, urlsplit

REPOSITORY = "someone/model"
REVISION = "0123456789abcdef0123456789abcdef01234567"
LARGE_BYTES = 1000
"""From this size on a file is listed as the hub lists what git keeps outside of it."""


class _Server(ThreadingHTTPServer):
    def __init__(self, hub):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub


class HubServer:
    """One repository at one revision. What a test changes holds for the requests that follow."""

    def __init__(self, files):
        self.files = files
        """Content by name."""
        self.served = {}
        """What is sent in place of a file's content, where that differs from what is listed."""
        self.cut_after = None
        """Bytes after which the line breaks, once."""
        self.stall_after = None
        """Bytes after which nothing more comes while the line stays."""
        self.status = None
        """Status of every answer in place of the right one, and the hub's own code for it."""
        self.elsewhere = False
        """Whether large files lie on another host, to which the hub redirects."""
        self.listing = None
        """Bytes sent in place of the listing."""
        self.requests = []
        """(file, first byte asked for, token) of each file request."""
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def next_cut(self, size):
        """Give after how many bytes of so many the line breaks now, None where it does not."""
        if self.cut_after is None or size <= self.cut_after:
            return None
        cut, self.cut_after = self.cut_after, None
        return cut

    def tree(self):
        """List all files as the hub does."""
        entries = []
        for name, data in sorted(self.files.items()):
            blob = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
            entry = {"type": "file", "path": name, "size": len(data), "oid": blob}
            if len(data) >= LARGE_BYTES:
                sha256 = hashlib.sha256(data).hexdigest()
                entry |= {"oid": "0" * 40, "lfs": {"oid": sha256, "size": len(data), "pointerSize": 130}}
            entries.append(entry)
        return [{"type": "directory", "path": "unet", "oid": "0" * 40, "size": 0}, *entries]


def point_at(hub, monkeypatch, home):
    """Let huggingface_hub in this process ask this hub, as HF_ENDPOINT would have, and find no token of a person."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(home / "no-token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HF_HOME", str(home / "huggingface"))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        hub = self.server.hub
        path = unquote(urlsplit(self.path).path)
        if hub.status is not None:
            status, code = hub.status
            self.answer(status, b"{}", {"X-Error-Code": code})
        elif path == f"/api/models/{REPOSITORY}/tree/{REVISION}":
            self.answer(200, json.dumps(hub.tree()).encode() if hub.listing is None else hub.listing)
        elif path.startswith(f"/{REPOSITORY}/resolve/{REVISION}/"):
            self.resolve(path.split("/", 5)[5])
        elif path.startswith("/store/"):
            self.file(path.removeprefix("/store/"))
        elif path.startswith(f"/api/models/{REPOSITORY}/"):
            self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        else:
            self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def resolve(self, name):
        hub = self.server.hub
        if hub.elsewhere and len(hub.files[name]) >= LARGE_BYTES:
            self.answer(302, b"", {"Location": f"http://localhost:{self.server.server_port}/store/{name}"})
        else:
            self.file(name)

    def file(self, name):
        hub = self.server.hub
        data = hub.served.get(name, hub.files[name])
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        first = int(asked[1]) if asked else 0
        hub.requests.append((name, first, self.headers.get("Authorization")))
        headers = {"Content-Range": f"bytes {first}-{len(data) - 1}/{len(data)}"} if asked else {}
        self.answer(206 if asked else 200, data[first:], headers, hub.next_cut(len(data) - first))

    def answer(self, status, body, headers=MappingProxyType({}), cut=None):
        hub = self.server.hub
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: hub.stall_after][:cut])
        self.wfile.flush()
        if hub.stall_after is not None and len(body) > hub.stall_after:
            self.rfile.read(1)  # until the client has gone
        if cut is not None or hub.stall_after is not None:
            self.close_connection = True

    def log_message(self, *_):
        pass
