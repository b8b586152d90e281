"""Names of gossip topics and DHT keys. Spec: SPEC.md §4.1, §8."""

COORDINATOR_KEY_SUFFIX = "role/coordinator"


def offers_topic(network: str, model: str) -> str:
    """Topic on which coordinators offer work for one model."""
    return f"/cuckoo/1/{network}/offers/{model}"


def objections_topic(network: str) -> str:
    """Topic on which miners object to awards."""
    return f"/cuckoo/1/{network}/objections"


def model_key(network: str, model: str) -> str:
    """DHT provider key under which miners of a model are found."""
    return f"/cuckoo/1/{network}/model/{model}"


def coordinator_key(network: str) -> str:
    """DHT provider key under which coordinators are found."""
    return f"/cuckoo/1/{network}/{COORDINATOR_KEY_SUFFIX}"
