"""What a child process of ours gets of the environment: one that computes, or opens what strangers sent."""

from collections.abc import Mapping


def child_environment(threads: int, environment: Mapping[str, str]) -> dict[str, str]:
    """Give the child what it needs of our environment, with its threads set and the network switched off.

    Settings of the node (``CUCKOO_…``) may hold passwords and stay here.
    """
    kept = {name: value for name, value in environment.items() if not name.startswith("CUCKOO_")}
    number = str(threads)
    return kept | {
        "OMP_NUM_THREADS": number,
        "MKL_NUM_THREADS": number,
        "OPENBLAS_NUM_THREADS": number,
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # cuda:1 is the card that nvidia-smi and its thermometer call 1
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin at barriers cost 15 s a picture once others use the cores
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "DIFFUSERS_VERBOSITY": "error",
    }
