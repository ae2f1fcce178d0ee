"""The bodies of requests and answers: Runway's, field by field, and ours in the same style.

What Runway's client sends and reads stands under Runway's names (`bodyControl`, `createdAt`); `lip_sync` and
`capture` are ours. A field that is not known is refused, so that a misspelt one does not pass unnoticed.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal, Union

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

MAX_SEED = 4294967295
MAX_TEXT = 20_000

Uri = Annotated[
    str,
    Field(
        min_length=5,
        max_length=24 << 20,
        pattern=r"^(https?://[!-~]+|runway://[0-9A-Za-z-]+|data:[!-~]+)$",
        description="An https URL, a runway:// URI of an upload, or a data: URI.",
        examples=["runway://0e7f4a52-6f0e-4b0c-9d2c-52b8d1d3f0aa"],
    ),
]


class Shape(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


# What is asked for


class UploadRequest(Shape):
    filename: str = Field(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f]+$")
    type: Literal["ephemeral"] = "ephemeral"


class Image(Shape):
    type: Literal["image"]
    uri: Uri


class Video(Shape):
    type: Literal["video"]
    uri: Uri


class Audio(Shape):
    type: Literal["audio"]
    uri: Uri
    transcript: str | None = Field(
        default=None, min_length=1, max_length=MAX_TEXT, description="What is said in it: lips close more exactly."
    )
    language: str | None = Field(default=None, max_length=40, description="Of the transcript; English without.")


class Text(Shape):
    type: Literal["text"]
    text: str = Field(min_length=1, max_length=MAX_TEXT, description="What the server's voice is to say.")
    language: str | None = Field(default=None, max_length=40, description="en-us, de, pt-BR, German; English without.")
    voice: str | None = Field(default=None, max_length=40, pattern=r"^[\w+-]+$", description="One of espeak's voices.")


Picture = Annotated[Union[Image, Video], Field(discriminator="type")]  # noqa: UP007 - pydantic reads it on Python 3.10
Speech = Annotated[Union[Audio, Text], Field(discriminator="type")]  # noqa: UP007
Who = Annotated[
    str, Field(pattern=r"^(largest|left|right|[1-9])$", description="Whose face, of several: largest, left, right, 1…")
]
Ratio = Literal["1280:720", "720:1280", "960:960", "1104:832", "832:1104", "1584:672"]
Webhook = Annotated[
    str, Field(max_length=2000, pattern=r"^https?://[!-~]+$", description="Told, signed, when the task is over.")
]


class ContentModeration(Shape):
    public_figure_threshold: Literal["auto", "low"] = "auto"


class CharacterPerformanceRequest(Shape):
    """Runway's act_two: a video's performer moves a character."""

    model: Literal["act_two"]
    character: Picture
    reference: Video
    body_control: bool = Field(
        default=False, description="Of a picture: shoulders and upper body too, besides head and face."
    )
    content_moderation: ContentModeration | None = Field(
        default=None, description="Taken for Runway's clients; nothing is moderated here."
    )
    expression_intensity: int = Field(default=3, ge=1, le=5)
    ratio: Ratio | None = Field(default=None, description="The character's own without.")
    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    webhook: Webhook | None = None


class LipSyncRequest(Shape):
    """A clip, or a picture, says something else."""

    model: Literal["lip_sync"] = "lip_sync"
    source: Picture = Field(description="Who is to speak.")
    speech: Speech
    face: Annotated[str, Field(pattern=r"^(all|largest|left|right|[1-9])$")] | None = Field(
        default=None, description="Whose mouth: all, largest, left, right or a number; whoever speaks without."
    )
    length: Literal["bounce", "loop", "hold", "stretch", "silence", "cut"] | None = Field(
        default=None, description="Where speech and clip differ; see understudy dub --help."
    )
    still: bool = Field(default=False, description="Of a picture, move the lips alone.")
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    webhook: Webhook | None = None


class CaptureRequest(Shape):
    """A video's performance, as a file for other programs."""

    model: Literal["capture"] = "capture"
    reference: Video
    format: Literal["npz", "csv", "bvh", "glb"] = "npz"
    face: Who | None = None
    webhook: Webhook | None = None


class UsageRequest(Shape):
    start_date: date | None = Field(default=None, description="YYYY-MM-DD, UTC.")
    before_date: date | None = Field(default=None, description="The day after the last.")


class KeyRequest(Shape):
    owner: str = Field(min_length=1, max_length=80, pattern=r"^[\w .@-]+$", description="Whose account it opens.")
    tier: str = Field(default="studio", max_length=40, description="One of the tariff's.")
    credits: int = Field(default=0, ge=0, le=10**9, description="Added to the account.")


# What is answered


class UploadStarted(Shape):
    runway_uri: str
    upload_url: str = Field(description="POST a form there, with these fields and the file as `file`.")
    fields: dict[str, str] = Field(description="None: the address is signed.")


class Credits(Shape):
    credits: int


class Created(Shape):
    id: str
    estimated_cost: Credits = Field(description="The most that will be charged.")
    warnings: list[str] = Field(description="Beyond Runway's: what was asked for and is not done.")


class _Task(Shape):
    id: str
    created_at: datetime
    kind: Literal["act", "lip_sync", "capture"] = Field(description="Beyond Runway's: what is done.")
    name: str | None = Field(description="Beyond Runway's: what its first file was called, while that is known.")


class Pending(_Task):
    status: Literal["PENDING"] = "PENDING"
    estimated_cost: Credits


class Throttled(_Task):
    status: Literal["THROTTLED"] = "THROTTLED"
    estimated_cost: Credits


class Running(_Task):
    status: Literal["RUNNING"] = "RUNNING"
    estimated_cost: Credits
    progress: float = Field(ge=0, le=1)


class Succeeded(_Task):
    status: Literal["SUCCEEDED"] = "SUCCEEDED"
    cost: Credits
    output: list[str] = Field(description="URLs that hold for 24 hours; ask again for new ones.")


class Failed(_Task):
    status: Literal["FAILED"] = "FAILED"
    cost: Credits
    failure: str
    failure_code: str | None


class Cancelled(_Task):
    status: Literal["CANCELLED"] = "CANCELLED"
    cost: Credits


TaskDetails = Annotated[
    Union[Pending, Throttled, Running, Succeeded, Failed, Cancelled], Field(discriminator="status")  # noqa: UP007
]  # fmt: skip


class TaskList(Shape):
    tasks: list[TaskDetails]
    next: str | None = Field(description="`before` of the next page; null on the last.")


class TierModel(Shape):
    max_concurrent_generations: int | None
    max_daily_generations: int | None


class Tier(Shape):
    name: str = Field(description="Beyond Runway's.")
    max_monthly_credit_spend: int
    models: dict[str, TierModel]


class UsedToday(Shape):
    daily_generations: int


class Usage(Shape):
    models: dict[str, UsedToday]


class Organization(Shape):
    credit_balance: int
    tier: Tier
    usage: Usage


class UsedCredits(Shape):
    model: str
    amount: int


class UsageOfDay(Shape):
    date: date
    used_credits: list[UsedCredits]


class UsageReport(Shape):
    models: list[str]
    results: list[UsageOfDay]


class WebhookSecret(Shape):
    secret: str


class KeyShown(Shape):
    id: str
    owner: str
    tier: str
    created_at: datetime
    revoked_at: datetime | None


class KeyMade(KeyShown):
    secret: str = Field(description="Shown this once.")


class Access(Shape):
    """How the one who asks stands with the service."""

    needs_key: bool = Field(description="Whether a key was ever made: then nobody gets in without one.")
    is_let_in: bool
    may_manage_keys: bool
    tiers: list[str] = Field(description="What a key may be made for; empty for those who may not.")


class Issue(Shape):
    code: str
    path: list[str | int]
    message: str


class Problem(Shape):
    error: str
    issues: list[Issue] | None = None
