"""`/v1/uploads`: a place is asked for, then the file is sent there, by the signed address that was answered.

The address is checked before any of the file is read (`server.api.mount`).
"""

from __future__ import annotations

import shutil
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Query, Response, UploadFile
from starlette.datastructures import QueryParams

from runtime.errors import InputError
from server.api.asking import Base, Held, Owner
from server.api.intake import UPLOADED
from server.api.problems import ApiError, answered, bad_field
from server.api.service import Service
from server.api.shapes import UploadRequest, UploadStarted
from server.api.signing import LINK_S
from server.jobs.records import Upload

router = APIRouter(tags=["uploads"])
PLACES = "/v1/uploads/"


@router.post("/v1/uploads", responses=answered(400, 401, 403, 503))
def start(asked: UploadRequest, service: Held, owner: Owner, base: Base) -> UploadStarted:
    """A place for a file of at most 2 GiB, and a `runway://` URI to name it by in the next 24 hours."""
    service.check_room()
    upload = service.store.uploads.announce(owner, asked.filename)
    expires = str(int(service.store.clock()) + LINK_S)
    return UploadStarted(
        runway_uri=f"{UPLOADED}{upload.id}", fields={},
        upload_url=f"{base}{PLACES}{upload.id}?expires={expires}&signature={service.signer.sign('upload', upload.id, expires)}",
    )  # fmt: skip


@router.post("/v1/uploads/{id}", status_code=204, responses=answered(400, 403, 404, 413))
async def receive(
    id: str,
    service: Held,
    expires: Annotated[str, Query(pattern=r"^[0-9]{1,12}$")],
    signature: Annotated[str, Query(pattern=r"^[0-9a-f]{64}$")],
    file: Annotated[UploadFile, File()],
    metadata: Annotated[str | None, Form(max_length=10_000)] = None,
) -> Response:
    """The file itself, as a form to the address that was answered. It is looked at before it is taken."""
    await service.in_thread(lambda: _receive(service, id, file.file))
    return Response(status_code=204)


def check(service: Service, id: str, query: QueryParams) -> None:
    """Whether an address is one that was answered; raises ApiError."""
    expires = query.get("expires", "")
    good = service.signer.check(query.get("signature", ""), "upload", id, expires)
    if not good or int(expires) < service.store.clock():
        raise ApiError(403, "the address is not one that was answered, or older than 24 hours; ask for a place again")


def _receive(service: Service, id: str, file: Any) -> None:
    upload: Upload | None = service.store.uploads.get(id)
    if upload is None:
        raise ApiError(404, "there is no such upload; ask for one again")
    partial = service.intake.place(upload)
    try:
        with partial.open("wb") as out:
            shutil.copyfileobj(file, out, 1 << 20)
        if not service.intake.arrived(upload, partial):
            raise ApiError(400, "the upload is here already; ask for another")
        service.intake.look(upload)
    except InputError as error:
        raise bad_field("file", error) from error
    finally:
        partial.unlink(missing_ok=True)
