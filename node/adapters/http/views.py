"""What the gateway says about tasks and receipts, as JSON. Numbers that JSON readers may round are text."""

import base64
import json
from collections.abc import Mapping

from fastapi import Response

from node.adapters.http.orders import Picture
from node.desk_ports import Waiting
from node.ports import StoredTask
from protocol.effects import Update
from protocol.units import TaskId
from protocol.wire.codec import RECEIPT_PLACE, SPECIFICATION_PLACE, decode
from protocol.wire.messages import TaskSpecification
from protocol.wire.statements import Statement

Json = Mapping[str, object]


def answer(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Give a JSON answer."""
    return Response(json.dumps(body, separators=(",", ":")), status, headers, media_type="application/json")


def picture_view(picture: Picture, specification: TaskSpecification) -> Json:
    """Say who made a picture and what was asked for, without the prompt."""
    task = picture.task.hex()
    return {
        "task": task,
        "miner": str(picture.miner),
        "attempt": picture.attempt,
        "artifact": picture.artifact.hex(),
        "receipt": f"/v1/receipts/{task}",
        **_parameters(specification),
    }


def task_view(stored: StoredTask, waiting: Waiting | None = None) -> Json:
    """Say what is known of a task, without the prompt; of one that has not ended also how it stands."""
    accepted = stored.accepted
    task = accepted.task.hex()
    view: dict[str, object] = {
        "task": task,
        "status": "failed" if stored.failed else "done" if stored.done else "open",
        "accepted_at": accepted.accepted_at,
        "deadline": accepted.deadline,
        "priority": accepted.priority.value,
        "price_wei": str(accepted.price),
        "events": f"/v1/tasks/{task}/events",
        **_parameters(decode(accepted.specification, SPECIFICATION_PLACE)),
    }
    if waiting is not None and not stored.done and not stored.failed:
        view["waiting"] = {"state": waiting.state, "offers": waiting.offers, "reasons": dict(waiting.reasons)}
    if stored.done:
        view |= {
            "finished_at": stored.done.finished_at,
            "generation_ms": stored.done.generation_ms,
            "miner": str(stored.done.miner),
            "attempt": stored.done.attempt,
            "receipt": f"/v1/receipts/{task}",
        }
    if stored.done and not stored.failed:  # both where the picture is withheld
        artifact = stored.done.artifact.hex()
        view |= {"artifact": artifact, "url": f"/v1/artifacts/{artifact}"}
    if stored.failed:
        view |= {"finished_at": stored.failed.finished_at, "reason": stored.failed.reason}
    return view


def accepted_view(task: TaskId, specification: TaskSpecification) -> Json:
    """Say that a task is on disk and where to hear of it."""
    name = task.hex()
    return {
        "task": name,
        "status": "open",
        "url": f"/v1/tasks/{name}",
        "events": f"/v1/tasks/{name}/events",
        **_parameters(specification),
    }


def update_view(task: TaskId, update: Update) -> Json:
    """Say one piece of news of a task; what does not apply to its stage is left out."""
    view: dict[str, object] = {"task": task.hex(), "stage": update.stage.value, "at": update.at}
    if update.miner is not None:
        view |= {"miner": str(update.miner), "attempt": update.attempt}
    if update.steps:
        view |= {"step": update.step, "steps": update.steps}
    if update.artifact is not None:
        view |= {"artifact": update.artifact.hex(), "url": f"/v1/artifacts/{update.artifact.hex()}"}
    if update.receipt is not None:
        view["receipt"] = f"/v1/receipts/{task.hex()}"
    if update.reason is not None:
        view["reason"] = update.reason
    if update.preview is not None:
        view["preview"] = f"data:image/webp;base64,{base64.b64encode(update.preview).decode()}"
    return view


def receipt_view(encoded: bytes) -> Json:
    """Show a stored receipt: every signed field as hexadecimal or decimal text, and the bytes themselves."""
    receipt = decode(encoded, RECEIPT_PLACE)
    return {
        "kind": receipt.kind,
        "version": receipt.version,
        "task": receipt.statement.task.hex(),
        "statement": statement_view(receipt.statement),
        "signature": receipt.signature.hex(),
        "voucher": statement_view(receipt.voucher),
        "voucher_signature": receipt.voucher_signature.hex(),
        "encoded": base64.b64encode(encoded).decode(),
    }


def statement_view(statement: Statement) -> Json:
    """Show an EIP-712 struct: its type string as ``struct``, and its fields under their names here."""
    view: dict[str, object] = {"struct": statement.TYPE}
    for name in type(statement).model_fields:
        value: object = getattr(statement, name)
        view[name] = value.hex() if isinstance(value, bytes) else str(value)
    return view


def _parameters(specification: TaskSpecification) -> Json:
    return {
        "model": specification.model,
        "size": f"{specification.width}x{specification.height}",
        "steps": specification.steps,
        "guidance": specification.guidance,
        "seed": specification.seed,
        "scheduler": specification.scheduler or None,
        "output_format": specification.output,
        "work": specification.work,
        **({} if specification.strength is None else {"strength": specification.strength}),
    }
