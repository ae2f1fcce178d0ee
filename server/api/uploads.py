"""`/v1/uploads`: a place is asked for, then the file is sent there with the signed fields that came along."""

from __future__ import annotations

import shutil
from typing import Annotated, Any

from fastapi import APIRouter, File, Form, Response, UploadFile

from runtime.errors import InputError
from server.api.asking import Base, Held, Owner
from server.api.intake import UPLOADED
from server.api.problems import ApiError, answered, bad_field
from server.api.service import Service
from server.api.shapes import UploadRequest, UploadStarted
from server.api.signing import LINK_S
from server.jobs.records import Upload

router = APIRouter(tags=["uploads"])


@router.post("/v1/uploads", responses=answered(400, 401, 403))
def start(asked: UploadRequest, service: Held, owner: Owner, base: Base) -> UploadStarted:
    """A place for a file of at most 2 GiB, and a `runway://` URI to name it by in the next 24 hours."""
    upload = service.store.uploads.announce(owner, asked.filename)
    expires = str(int(service.store.clock()) + LINK_S)
    return UploadStarted(
        runway_uri=f"{UPLOADED}{upload.id}", upload_url=f"{base}/v1/uploads/{upload.id}",
        fields={"expires": expires, "signature": service.signer.sign("upload", upload.id, expires)},
    )  # fmt: skip


@router.post("/v1/uploads/{id}", status_code=204, responses=answered(400, 403, 404, 413))
async def receive(
    id: str,
    service: Held,
    expires: Annotated[str, Form(max_length=20)],
    signature: Annotated[str, Form(max_length=64)],
    file: Annotated[UploadFile, File()],
    metadata: Annotated[str | None, Form(max_length=10_000)] = None,
) -> Response:
    """The file itself, as a form: the fields that were answered, then the file. It is looked at before it is taken."""
    if not service.signer.check(signature, "upload", id, expires) or int(expires) < service.store.clock():
        raise ApiError(403, "the fields are not those that were answered, or older than 24 hours")
    await service.in_thread(lambda: _receive(service, id, file.file))
    return Response(status_code=204)


def _receive(service: Service, id: str, file: Any) -> None:
    upload: Upload | None = service.store.uploads.get(id)
    if upload is None:
        raise ApiError(404, "there is no such upload; ask for one again")
    if upload.n_bytes is not None:
        raise ApiError(400, "the upload is here already; ask for another")
    partial = service.intake.place(upload)
    try:
        with partial.open("wb") as out:
            shutil.copyfileobj(file, out, 1 << 20)
        try:
            service.intake.look(service.intake.arrived(upload, partial))
        except InputError as error:
            raise bad_field("file", error) from error
    finally:
        partial.unlink(missing_ok=True)
