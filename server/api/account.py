"""An account: its tier and credits as Runway's organization, its webhook secret, and the keys that open it."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from itertools import groupby

from fastapi import APIRouter, Request

from runtime.errors import InputError
from server.api.access import is_local
from server.api.asking import MANAGED, Held, Owner
from server.api.problems import ApiError, answered, bad_field
from server.api.service import moment
from server.api.shapes import (
    Access,
    KeyMade,
    KeyRequest,
    KeyShown,
    Organization,
    Tier,
    TierModel,
    Usage,
    UsageOfDay,
    UsageReport,
    UsageRequest,
    UsedCredits,
    UsedToday,
    WebhookSecret,
)
from server.jobs.records import Key
from server.jobs.tariff import LOCAL

router = APIRouter(tags=["account"])
EPOCH = date(1970, 1, 1)
DAYS, MOST_DAYS = 30, 90
FIRST_DAY = date(2026, 1, 1)  # before it nothing was charged
RUNWAY_MODEL = {"act": "act_two"}  # kinds that have another name in Runway's interface


@router.get("/v1/organization", responses=answered(400, 401))
def organization(service: Held, owner: Owner) -> Organization:
    """What the account may do, has done today and has left. Its limits are of all models together."""
    standing = service.store.standing(owner)
    tier, models = service.store.tariff.tier(standing.tier), [_model(kind) for kind in service.store.tariff.prices]
    limits = TierModel(max_concurrent_generations=tier.concurrency, max_daily_generations=tier.daily)
    today = UsedToday(daily_generations=standing.begun_today)
    return Organization(
        credit_balance=standing.credits,
        tier=Tier(name=tier.name, max_monthly_credit_spend=0, models=dict.fromkeys(models, limits)),
        usage=Usage(models=dict.fromkeys(models, today)),
    )


@router.post("/v1/organization/usage", responses=answered(400, 401, 403))
def usage(asked: UsageRequest, service: Held, owner: Owner) -> UsageReport:
    """Credits charged, by day and model; the last thirty days without dates, at most ninety."""
    today = datetime.fromtimestamp(service.store.clock(), timezone.utc).date()
    start = asked.start_date or today - timedelta(DAYS)
    if not FIRST_DAY <= start <= today:
        raise bad_field("startDate", ValueError(f"startDate is {start}; wanted {FIRST_DAY} to {today}"))
    before = asked.before_date or start + timedelta(DAYS + 1)
    if not start <= before <= start + timedelta(MOST_DAYS):
        raise bad_field("beforeDate", ValueError(f"beforeDate is {before}; wanted 0 to {MOST_DAYS} days after {start}"))
    spent = service.store.spent(owner, _begins(start), _begins(before) - 1e-6)
    results = [
        UsageOfDay(
            date=date.fromisoformat(day),
            used_credits=[UsedCredits(model=_model(entry.kind), amount=entry.credits) for entry in entries],
        )
        for day, entries in groupby(spent, key=lambda entry: entry.day)
    ]
    return UsageReport(models=sorted({_model(entry.kind) for entry in spent}), results=results)


@router.get("/v1/webhook_secret", responses=answered(400, 401))
def webhook_secret(service: Held, owner: Owner) -> WebhookSecret:
    """What the account's webhooks are signed with; see docs/service.md."""
    return WebhookSecret(secret=service.signer.webhook_secret(owner))


@router.get("/v1/access")
def access(request: Request, service: Held) -> Access:
    """Whether the one who asks is let in, for pages that want to say so in words."""
    try:
        service.access.owner(request)
        is_let_in = True
    except ApiError:
        is_let_in = False
    may_manage = is_let_in and is_local(request)
    return Access(
        needs_key=service.access.needs_key(), is_let_in=is_let_in, may_manage_keys=may_manage,
        tiers=[name for name in service.store.tariff.tiers if name != LOCAL] if may_manage else [],
    )  # fmt: skip


@router.get("/v1/keys", dependencies=MANAGED, responses=answered(401, 403))
def keys(service: Held) -> list[KeyShown]:
    """Every key there ever was, oldest first; never a secret."""
    return [_shown(key) for key in service.store.keys.all()]


@router.post("/v1/keys", status_code=201, dependencies=MANAGED, responses=answered(400, 401, 403))
def make_key(asked: KeyRequest, service: Held) -> KeyMade:
    """A new key. Its secret is in this answer and nowhere else."""
    try:
        made = service.store.keys.create(asked.owner, asked.tier)
    except InputError as error:
        raise bad_field("owner" if asked.owner in str(error) else "tier", error) from error
    if asked.credits:
        service.store.grant(asked.owner, asked.credits)
    return KeyMade(**_shown(made.key).model_dump(), secret=made.secret)


@router.delete("/v1/keys/{id}", dependencies=MANAGED, responses=answered(401, 403, 404))
def revoke_key(id: str, service: Held) -> KeyShown:
    """Let nobody in with a key any more."""
    try:
        return _shown(service.store.keys.revoke(id))
    except InputError as error:
        raise ApiError(404, "there is no such key") from error


def _model(kind: str) -> str:
    return RUNWAY_MODEL.get(kind, kind)


def _begins(day: date) -> float:
    """Seconds since 1970 at which a day begins, UTC."""
    return float((day - EPOCH).days * 86_400)


def _shown(key: Key) -> KeyShown:
    revoked = None if key.revoked is None else moment(key.revoked)
    return KeyShown(id=key.id, owner=key.owner, tier=key.tier, created_at=moment(key.created), revoked_at=revoked)
