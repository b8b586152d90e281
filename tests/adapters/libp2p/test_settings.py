"""Bad settings: one clear line each, naming the field."""

import errno
import os
import socket

import pytest
from annotated_types import Ge, Le

from node.adapters.libp2p.settings import OverlaySettings, check, check_ports_free
from node.settings import OverlaySection
from protocol.errors import ConfigError
from tests.support.overlay import peer_of

GOOD = f"/ip4/192.0.2.1/tcp/4001/p2p/{peer_of(1)}"
ED25519 = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"


def _settings(
    listen: tuple[str, ...] = ("/ip4/127.0.0.1/tcp/0",),
    announce: tuple[str, ...] = (),
    bootstraps: tuple[str, ...] = (),
    max_connections: int = 64,
) -> OverlaySettings:
    return OverlaySettings(listen=listen, announce=announce, bootstraps=bootstraps, max_connections=max_connections)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (_settings(listen=()), "listen: at least one"),
        (_settings(listen=("nonsense",)), "listen: 'nonsense'.*not a multiaddress"),
        (_settings(listen=("/ip4/127.0.0.1/udp/1/quic-v1",)), "listen: .*only TCP"),
        (_settings(listen=("/dns4/example.org/tcp/1",)), "listen: .*of this machine"),
        (_settings(listen=("/ip4/127.0.0.1/tcp/99999",)), "listen: .*not a multiaddress"),
        (_settings(announce=("/ip4/1.2.3.4",)), "announce: .*only TCP"),
        (_settings(bootstraps=("/ip4/192.0.2.1/tcp/4001",)), "bootstraps: .*must end in /p2p/"),
        (_settings(bootstraps=("/ip4/192.0.2.1/tcp/4001/p2p/0OIl",)), "bootstraps: .*is not a peer id"),
        (_settings(bootstraps=(f"/ip4/192.0.2.1/tcp/4001/p2p/{ED25519}",)), "bootstraps: .*16Uiu2HA"),
        (_settings(bootstraps=(GOOD, f"/p2p/{peer_of(1)}")), "bootstraps: .*must end in"),
        (_settings(max_connections=1), "max_connections: 1"),
    ],
)
def test_check__bad_setting__config_error_names_it(settings: OverlaySettings, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        check(settings)
    assert "\n" not in str(caught.value)


def test_check__good_settings__parsed() -> None:
    checked = check(_settings(bootstraps=(GOOD,), announce=("/dns4/node.example.org/tcp/4001",)))
    assert [str(endpoint) for endpoint in checked.bootstraps] == [GOOD]
    check_ports_free(checked.listen)


def test_check_ports_free__not_our_address__config_error() -> None:
    with pytest.raises(
        ConfigError, match=r"listen: /ip4/192\.0\.2\.1/tcp/4001 is no address of this machine: listen on"
    ):
        check_ports_free(check(_settings(listen=("/ip4/192.0.2.1/tcp/4001",))).listen)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, r"^listen: /ip4/127\.0\.0\.1/tcp/80 needs privileges: choose a port from 1024 on$"),
        (errno.ENOBUFS, r"^listen: cannot listen on /ip4/127\.0\.0\.1/tcp/80: "),
    ],
    ids=["privileges", "anything else"],
)
def test_check_ports_free__system_refuses__config_error_says_why(
    monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refuse(_: socket.socket, address: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(ConfigError, match=words):
        check_ports_free(check(_settings(listen=("/ip4/127.0.0.1/tcp/80",))).listen)


def test_check__bounds_of_max_connections__are_those_of_the_nodes_settings() -> None:
    bounds = OverlaySection.model_fields["max_connections"].metadata
    least = next(bound.ge for bound in bounds if isinstance(bound, Ge))
    most = next(bound.le for bound in bounds if isinstance(bound, Le))
    for allowed in (least, most):
        assert check(_settings(max_connections=allowed)).max_connections == allowed
    for beyond in (least - 1, most + 1):
        with pytest.raises(ConfigError, match="max_connections"):
            check(_settings(max_connections=beyond))


def test_check_ports_free__taken__config_error_says_what_to_do() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        taken = f"/ip4/127.0.0.1/tcp/{other.getsockname()[1]}"
        with pytest.raises(ConfigError, match=f"listen: {taken} is in use.*0 for a free one"):
            check_ports_free(check(_settings(listen=(taken,))).listen)
