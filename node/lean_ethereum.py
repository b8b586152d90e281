"""eth_utils, without its table of networks.

Importing any part of it, or of what is built on it (eth_abi, eth_account), reads a list of two thousand networks and
makes an object of each, for names that nobody here asks for: a tenth of a second of every start and command that knows
an address. What imports one of these imports this first.
"""

import sys
from typing import Final

from node.stand_ins import stand_ins

NETWORKS: Final = "eth_utils.network"
_NAMES: Final = ("Network", "name_from_chain_id", "network_from_chain_id", "short_name_from_chain_id")
"""What eth_utils takes from there, to hand it on."""

if "eth_utils" not in sys.modules:
    with stand_ins({NETWORKS: dict.fromkeys(_NAMES)}):
        import eth_utils  # noqa: F401  for what it leaves loaded
