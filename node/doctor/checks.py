"""Which checks a role needs. The table is the only place that knows roles."""

from collections.abc import Sequence
from datetime import UTC, datetime

from node.doctor.chain import look_at_chain
from node.doctor.device import DEVICE_S, MODELS_S, look_at_device, look_at_models
from node.doctor.findings import REMOTE_S, Check
from node.doctor.machine import (
    look_at_bootstraps,
    look_at_data,
    look_at_key,
    look_at_node,
    look_at_ports,
    look_at_reach,
    running,
)
from node.settings import NodeRole, Settings


def checks_of(settings: Settings, *, quick: bool = False) -> Sequence[Check]:
    """List the checks of a node.

    Args:
        settings: Of the node.
        quick: Do not read whole models.
    """
    standing = running(settings.data)
    checks = [
        Check("key", lambda: look_at_key(settings), 30.0, "a keystore of fewer rounds: cuckoo key new"),
        Check("data", lambda: look_at_data(settings), fix="see whether its disk hangs: dmesg"),
        Check("port", lambda: look_at_ports(settings, standing)),
        Check("reach", lambda: look_at_reach(settings)),
        Check("entry points", lambda: look_at_bootstraps(settings)),
        Check(
            "chain",
            lambda: look_at_chain(settings, datetime.now(UTC).timestamp()),
            REMOTE_S,
            "another chain node: chain.rpc_urls or --chain-rpc URL",
        ),
    ]
    if settings.role is NodeRole.MINER:
        checks += [
            Check(
                "device", lambda: look_at_device(settings), DEVICE_S, "see whether its driver hangs: nvidia-smi, dmesg"
            ),
            Check(
                "model",
                lambda: look_at_models(settings, quick=quick),
                MODELS_S,
                "cuckoo doctor --quick reads no models",
            ),
        ]
    checks.append(Check("node", lambda: look_at_node(settings, standing)))
    return checks
