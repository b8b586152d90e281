"""Whatever a client sends, as the API is described or not: it is answered as described, and never by a mistake.

The requests are Schemathesis's, unmodified, over a real socket.
"""

from collections import Counter

import hypothesis
import schemathesis
import trio
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks

from tests.adapters.http.conftest import Serve, Served
from tests.adapters.http.test_openapi import document_of
from tests.support.desk import Workbench
from tests.support.patience import PATIENCE_S
from tests.support.pictures import png

EXAMPLES = 6
"""Good requests to each operation, and as many bad ones: some seconds for all of them."""
CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


def ask_all(served: Served, document: dict) -> Counter[str]:
    """Send every operation many requests; gives how many each got."""
    schema = schemathesis.openapi.from_dict(document)
    schema.config.update(base_url=served.url)
    asked: Counter[str] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()
        raw = operation.definition.raw
        takes_something = "parameters" in raw or "requestBody" in raw
        ask(operation, GenerationMode.POSITIVE, asked, EXAMPLES if takes_something else 1)
        if "requestBody" in raw:  # any text may be the name of a task, so that no such request is a bad one
            ask(operation, GenerationMode.NEGATIVE, asked, EXAMPLES)
    return asked


def ask(operation: schemathesis.APIOperation, mode: GenerationMode, asked: Counter[str], examples: int) -> None:
    @hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def one(case: schemathesis.Case) -> None:
        asked[f"{mode.value} {operation.label}"] += 1
        case.call_and_validate(checks=CHECKS, headers={"Authorization": "Bearer alice"}, timeout=PATIENCE_S)

    one()


async def test_any_request__of_all_operations__is_answered_as_described(serve: Serve):
    served = await serve(Workbench(picture=png(8, 8)), nearest_sizes=True)
    document = await document_of(served)
    asked = await trio.to_thread.run_sync(ask_all, served, document)
    good = [label for label in asked if label.startswith("positive")]
    assert len(good) == sum(len(methods) for methods in document["paths"].values())
    assert asked["negative POST /v1/images/generations"] == asked["negative POST /sdapi/v1/txt2img"] == EXAMPLES
    assert served.desk.accepted, "some requests were good"
