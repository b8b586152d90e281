"""Bad settings: one clear line each, naming the field."""

import pytest

from node.adapters.libp2p.settings import OverlaySettings, check, check_ports_free
from protocol.errors import ConfigError
from tests.support.overlay import peer_of

GOOD = f"/ip4/192.0.2.1/tcp/4001/p2p/{peer_of(1)}"
ED25519 = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (OverlaySettings(listen=()), "listen: at least one"),
        (OverlaySettings(listen=("nonsense",)), "listen: 'nonsense'.*not a multiaddress"),
        (OverlaySettings(listen=("/ip4/127.0.0.1/udp/1/quic-v1",)), "listen: .*only TCP"),
        (OverlaySettings(listen=("/dns4/example.org/tcp/1",)), "listen: .*of this machine"),
        (OverlaySettings(listen=("/ip4/127.0.0.1/tcp/99999",)), "listen: .*not a multiaddress"),
        (OverlaySettings(announce=("/ip4/1.2.3.4",)), "announce: .*only TCP"),
        (OverlaySettings(bootstraps=("/ip4/192.0.2.1/tcp/4001",)), "bootstraps: .*must end in /p2p/"),
        (OverlaySettings(bootstraps=("/ip4/192.0.2.1/tcp/4001/p2p/0OIl",)), "bootstraps: .*is not a peer id"),
        (OverlaySettings(bootstraps=(f"/ip4/192.0.2.1/tcp/4001/p2p/{ED25519}",)), "bootstraps: .*16Uiu2HA"),
        (OverlaySettings(bootstraps=(GOOD, f"/p2p/{peer_of(1)}")), "bootstraps: .*must end in"),
        (OverlaySettings(max_connections=1), "max_connections: 1"),
    ],
)
def test_check__bad_setting__config_error_names_it(settings: OverlaySettings, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        check(settings)
    assert "\n" not in str(caught.value)


def test_check__good_settings__parsed() -> None:
    checked = check(OverlaySettings(bootstraps=(GOOD,), announce=("/dns4/node.example.org/tcp/4001",)))
    assert [str(endpoint) for endpoint in checked.bootstraps] == [GOOD]
    check_ports_free(checked.listen)


def test_check_ports_free__not_our_address__config_error() -> None:
    with pytest.raises(ConfigError, match=r"listen: cannot listen on /ip4/192\.0\.2\.1/tcp/4001"):
        check_ports_free(check(OverlaySettings(listen=("/ip4/192.0.2.1/tcp/4001",))).listen)
