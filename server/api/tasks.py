"""Tasks: ordered, looked at, cancelled, tried again, forgotten; and their outputs, by signed links."""

from __future__ import annotations

import logging
import mimetypes
import uuid
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse

from server.api.asking import Base, Held, IdempotencyKey, Owner
from server.api.problems import ApiError, answered
from server.api.service import UPLOADS, Service, created
from server.api.shapes import (
    CaptureRequest,
    CharacterPerformanceRequest,
    Created,
    LipSyncRequest,
    TaskDetails,
    TaskList,
)
from server.jobs.orders import from_text, paths_of
from server.jobs.records import State, Submission, Task

log = logging.getLogger(__name__)
router = APIRouter(tags=["tasks"])
_ORDERING = answered(400, 401, 403, 413, 422, 429, 503)


@router.post("/v1/character_performance", responses=_ORDERING)
async def act(
    asked: CharacterPerformanceRequest, service: Held, owner: Owner, idempotency_key: IdempotencyKey = None
) -> Created:
    """A character does what a performer does. As Runway's `act_two`, with references of any length."""
    return await service.order(owner, lambda ordering: ordering.act(asked), asked.webhook, idempotency_key)


@router.post("/v1/lip_sync", responses=_ORDERING)
async def lip_sync(
    asked: LipSyncRequest, service: Held, owner: Owner, idempotency_key: IdempotencyKey = None
) -> Created:
    """A clip, or a picture, says something else."""
    return await service.order(owner, lambda ordering: ordering.lip_sync(asked), asked.webhook, idempotency_key)


@router.post("/v1/capture", responses=_ORDERING)
async def capture(
    asked: CaptureRequest, service: Held, owner: Owner, idempotency_key: IdempotencyKey = None
) -> Created:
    """A video's performance, as a file for other programs."""
    return await service.order(owner, lambda ordering: ordering.capture(asked), asked.webhook, idempotency_key)


@router.get("/v1/tasks", responses=answered(400, 401))
def tasks(
    service: Held,
    owner: Owner,
    base: Base,
    status: State | None = None,
    before: Annotated[str | None, Query(max_length=36)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> TaskList:
    """Beyond Runway's: what was ordered, the newest first."""
    found = service.store.tasks(owner, (status,) if status is not None else (), before=before, limit=limit + 1)
    more = found[limit - 1].id if len(found) > limit else None
    return TaskList(tasks=[service.details(task, base) for task in found[:limit]], next=more)


@router.get("/v1/tasks/{id}", responses=answered(400, 401, 404))
def retrieve(id: str, service: Held, owner: Owner, base: Base) -> TaskDetails:
    """How a task stands."""
    return service.details(_found(service.store.task(_known(id), owner)), base)


@router.delete("/v1/tasks/{id}", status_code=204, responses=answered(400, 401, 403, 404))
def delete(id: str, service: Held, owner: Owner) -> Response:
    """Cancel a task that is not over, and forget it with its outputs."""
    task = _found(service.store.delete(_known(id), owner))
    log.info("a task is deleted", extra={"task": task.id})
    return Response(status_code=204)


@router.post("/v1/tasks/{id}/cancel", responses=answered(400, 401, 403, 404))
def cancel(id: str, service: Held, owner: Owner, base: Base) -> TaskDetails:
    """Beyond Runway's: end a task that is not over, give its credits back, and keep it to be seen."""
    task = _found(service.store.cancel(_known(id), owner))
    log.info("a task is cancelled", extra={"task": task.id})
    return service.details(task, base)


@router.post("/v1/tasks/{id}/retry", responses=answered(400, 401, 403, 404, 422, 429))
def retry(id: str, service: Held, owner: Owner, idempotency_key: IdempotencyKey = None) -> Created:
    """Beyond Runway's: order the same again, as a new task."""
    task = _found(service.store.task(_known(id), owner))
    if not task.state.is_over:
        raise ApiError(400, f"the task is {task.state.value}; wanted one that is over")
    paths = [path for path in paths_of(from_text(task.order)) if path.parts[0] == UPLOADS]
    if not all((service.data / path).exists() for path in paths):
        raise ApiError(400, "what the task was made of is no longer here; order it anew")
    submitted = service.store.submit(
        Submission(
            owner=owner, kind=task.kind, order=task.order, seconds=task.seconds, idempotency_key=idempotency_key,
            uploads=tuple(sorted({path.parts[1] for path in paths})), webhook=task.webhook,
        )
    )  # fmt: skip
    log.info("a task is ordered again", extra={"task": submitted.task.id, "before": task.id})
    return created(submitted.task)


@router.head("/v1/outputs/{id}/{file}", include_in_schema=False)
@router.get("/v1/outputs/{id}/{file}", response_class=FileResponse, responses=answered(400, 403, 404))
def output(
    id: str,
    file: str,
    service: Held,
    expires: Annotated[str, Query(pattern=r"^[0-9]{1,12}$")],
    signature: Annotated[str, Query(pattern=r"^[0-9a-f]{64}$")],
) -> FileResponse:
    """An output, by the link that a task was answered with; no key is needed."""
    number, _, _ = file.partition(".")
    if not service.signer.check(signature, "output", id, number, expires) or int(expires) < service.store.clock():
        raise ApiError(403, "the link is not one of ours, or older than 24 hours; ask for the task again")
    return _file(service, _found(service.store.task(_known(id))), int(number))


def _file(service: Service, task: Task, number: int) -> FileResponse:
    path = service.data / task.outputs[number] if number < len(task.outputs) else None
    if path is None or not path.exists():
        raise ApiError(404, "the output is no longer here")
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return FileResponse(path, media_type=kind, filename=f"{task.id}{path.suffix}", content_disposition_type="inline")


def _known(id: str) -> str:
    """A task's id as the store has it, or 404 for what can be none."""
    try:
        return str(uuid.UUID(id))
    except ValueError as error:
        raise ApiError(404, "there is no such task") from error


def _found(task: Task | None) -> Task:
    if task is None:
        raise ApiError(404, "there is no such task")
    return task
