"""Tasks: submitted once, worked on by one, over once, charged once; in SQLite and in PostgreSQL."""

from __future__ import annotations

import multiprocessing
import sqlite3
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from runtime.errors import InputError
from server.jobs import ledger
from server.jobs.database import Database, about, sqlite_url
from server.jobs.database import ledger as ledger_table
from server.jobs.records import Code, ConflictError, CreditError, LeaseError, LimitError, State, Submission
from server.jobs.store import Store
from server.jobs.tariff import Tariff, load_tariff
from tests.server.jobs.conftest import Clock

TASK = Submission(owner="local", kind="act", order="{}", seconds=4.0)


def of(owner: str, seconds: float = 4.0, kind: str = "act", key: str | None = None, order: str = "{}") -> Submission:
    return Submission(owner=owner, kind=kind, order=order, seconds=seconds, idempotency_key=key)


def steps(store: Store, owner: str) -> list[tuple[str, int]]:
    """The ledger, oldest first."""
    return [(entry.step, entry.amount) for entry in reversed(store.entries(owner))]


def test_a_task_goes_from_pending_over_running_to_succeeded(store: Store, clock: Clock) -> None:
    task = store.submit(TASK).task
    assert (task.state, task.progress, task.attempts, task.created) == (State.PENDING, 0.0, 0, clock.now)
    clock.now += 5
    claim = store.claim("w")
    assert claim is not None
    assert claim.task.id == task.id
    assert (claim.task.state, claim.task.started, claim.task.attempts) == (State.RUNNING, clock.now, 1)
    clock.now += 2
    store.heartbeat(claim, 0.25)
    clock.now += 5
    done = store.finish(claim, ["outputs/x/y.mp4"], 4.5)
    assert done == store.task(task.id)
    assert (done.state, done.outputs, done.seconds, done.ended) == (
        State.SUCCEEDED, ("outputs/x/y.mp4",), 4.5, clock.now,
    )  # fmt: skip
    told = [(e.state, e.progress) for e in store.events(0)]
    wanted = [(State.PENDING, 0.0), (State.RUNNING, 0.0), (State.RUNNING, 0.25), (State.SUCCEEDED, 1.0)]
    assert told == wanted


def test_a_task_that_succeeded_costs_what_it_lasted_and_the_rest_comes_back(store: Store) -> None:
    store.keys.create("ann", "free")
    store.submit(of("ann", 4.0))
    assert store.standing("ann").credits == 980
    claim = store.claim("w")
    assert claim is not None
    assert store.finish(claim, [], 3.01).cost == 16
    assert steps(store, "ann") == [("grant", 1000), ("reserve", -20), ("settle", 4)]
    assert store.standing("ann").credits == 984


def test_a_task_is_never_charged_more_than_was_reserved(store: Store) -> None:
    store.keys.create("ann", "free")
    store.submit(of("ann", 4.0))
    claim = store.claim("w")
    assert claim is not None
    assert store.finish(claim, [], 400.0).cost == 20
    assert store.standing("ann").credits == 980


def test_the_ledger_takes_no_second_end_of_a_task(store: Store) -> None:
    store.keys.create("ann", "free")
    task = store.submit(of("ann")).task
    store.cancel(task.id)
    with pytest.raises(IntegrityError), store.database.writing() as connection:
        ledger.settle(connection, 0.0, "ann", task.id, 5)
    with pytest.raises(IntegrityError), store.database.writing() as connection:
        ledger.reserve(connection, 0.0, "ann", task.id, 5)
    assert steps(store, "ann") == [("grant", 1000), ("reserve", -20), ("refund", 20)]


def test_the_ledger_takes_lines_and_gives_none_back(store: Store) -> None:
    store.keys.create("ann", "free")
    for change in (update(ledger_table).values(amount=9), delete(ledger_table)):
        with (
            pytest.raises(DBAPIError, match="lines of the ledger are only added"),
            store.database.writing() as connection,
        ):
            connection.execute(change)
    assert steps(store, "ann") == [("grant", 1000)]


def test_a_balance_is_the_sum_of_its_lines(store: Store) -> None:
    store.keys.create("ann", "paid")
    store.keys.create("bob", "paid")
    for n in range(6):
        store.submit(of("ann" if n % 2 else "bob", 1.0 + n))
    store.cancel(store.tasks("ann")[0].id)
    claim = store.claim("w")
    assert claim is not None
    store.finish(claim, [], 0.5)
    store.grant("ann", -300)
    for owner in ("ann", "bob"):
        amounts = [entry.amount for entry in store.entries(owner)]
        assert store.standing(owner).credits == sum(amounts)
        assert len(amounts) > 4


def test_who_has_too_few_credits_is_told_and_nothing_is_kept(store: Store) -> None:
    store.keys.create("ann", "free")
    with pytest.raises(CreditError, match="costs 1500 credits and ann has 1000"):
        store.submit(of("ann", 300.0))
    assert store.tasks("ann") == []
    assert steps(store, "ann") == [("grant", 1000)]


def test_credits_can_be_granted(store: Store) -> None:
    store.keys.create("ann", "free")
    assert store.grant("ann", 500) == 1500
    with pytest.raises(InputError, match="no account bob"):
        store.grant("bob", 500)


def test_the_same_idempotency_key_is_the_same_task(store: Store) -> None:
    store.keys.create("ann", "free")
    store.keys.create("bob", "free")
    first = store.submit(of("ann", key="k"))
    again = store.submit(of("ann", key="k"))
    assert (first.is_new, again.is_new) == (True, False)
    assert first.task.id == again.task.id
    assert store.submit(of("bob", key="k")).is_new
    with pytest.raises(ConflictError, match="'k' was used for another order"):
        store.submit(of("ann", key="k", order='{"other": 1}'))
    assert store.standing("ann").credits == 980


def test_what_fails_is_tried_again_until_its_tries_are_used_up(store: Store) -> None:
    store.keys.create("ann", "free")
    task = store.submit(of("ann")).task
    for n in (1, 2, 3):
        claim = store.claim("w")
        assert claim is not None
        assert claim.task.attempts == n
        after = store.fail(claim, "the process died", Code.CRASHED, for_good=False)
        assert after.state is (State.FAILED if n == 3 else State.PENDING)
    assert (after.failure, after.failure_code, after.cost) == ("the process died", Code.CRASHED, 0)
    assert store.claim("w") is None
    assert steps(store, "ann") == [("grant", 1000), ("reserve", -20), ("refund", 20)]
    assert after == store.task(task.id)


def test_bad_input_is_not_tried_again(store: Store) -> None:
    store.submit(TASK)
    claim = store.claim("w")
    assert claim is not None
    assert store.fail(claim, "shows no face", Code.BAD_INPUT, for_good=True).state is State.FAILED


def test_a_silent_worker_loses_its_task_to_the_next(store: Store, clock: Clock) -> None:
    store.submit(TASK)
    first = store.claim("w")
    assert first is not None
    clock.now += 19
    assert store.reap() == 0
    store.heartbeat(first, 0.5)
    clock.now += 19
    assert store.reap() == 0
    clock.now += 2
    assert store.reap() == 1
    second = store.claim("v")
    assert second is not None
    assert second.task.id == first.task.id
    assert second.task.progress == 0.0
    with pytest.raises(LeaseError):
        store.heartbeat(first, 0.9)
    with pytest.raises(LeaseError):
        store.hand_back(first)
    with pytest.raises(LeaseError):
        store.finish(first, ["x"], 1.0)
    assert first.folder != second.folder
    assert store.finish(second, ["y"], 1.0).outputs == ("y",)


def test_little_news_writes_nothing_and_the_lease_is_kept_all_the_same(store: Store, clock: Clock) -> None:
    store.submit(TASK)
    claim = store.claim("w")
    assert claim is not None
    for beat in range(320):
        clock.now += 1 / 8
        store.heartbeat(claim, beat / 320)
        assert store.reap() == 0
    told = [event.progress for event in store.events(0) if event.progress]
    assert len(told) == 20  # every 2 s of 40
    assert told == sorted(told)
    for _ in range(40):
        clock.now += 1
        store.heartbeat(claim, beat / 320)
        assert store.reap() == 0
    assert len(store.events(0)) == 2 + 20


def test_a_task_whose_worker_always_vanishes_fails_with_the_reason(store: Store, clock: Clock) -> None:
    task = store.submit(TASK).task
    for _ in range(4):
        assert store.claim("w") is not None
        clock.now += 21
        assert store.reap() == 1
    after = store.task(task.id)
    assert after is not None
    assert (after.state, after.failure, after.failure_code) == (State.FAILED, "its worker vanished 4 times", Code.LOST)


def test_a_worker_known_to_be_gone_loses_its_task_at_once(store: Store) -> None:
    store.submit(TASK)
    store.submit(TASK)
    assert store.claim("w") is not None
    kept = store.claim("v")
    assert kept is not None
    assert store.lost("w") == 1
    store.heartbeat(kept, 0.1)


def test_handing_back_counts_no_attempt_and_keeps_the_place_in_line(store: Store) -> None:
    first = store.submit(TASK).task
    store.submit(TASK)
    for _ in range(10):
        claim = store.claim("w")
        assert claim is not None
        assert (claim.task.id, claim.task.attempts) == (first.id, 1)
        store.hand_back(claim)
    after = store.task(first.id)
    assert after is not None
    assert (after.state, after.attempts) == (State.PENDING, 0)


def test_cancelling_takes_a_task_from_its_worker_and_gives_the_credits_back(store: Store) -> None:
    store.keys.create("ann", "free")
    task = store.submit(of("ann")).task
    claim = store.claim("w")
    assert claim is not None
    cancelled = store.cancel(task.id, "ann")
    assert cancelled is not None
    assert cancelled.state is State.CANCELLED
    with pytest.raises(LeaseError):
        store.heartbeat(claim, 0.5)
    with pytest.raises(LeaseError):
        store.finish(claim, ["x"], 4.0)
    assert store.standing("ann").credits == 1000
    assert store.cancel(task.id) == cancelled


def test_a_deleted_task_is_gone_and_its_ledger_stays(store: Store) -> None:
    store.keys.create("ann", "free")
    task = store.submit(of("ann")).task
    deleted = store.delete(task.id, "ann")
    assert deleted is not None
    assert deleted.state is State.CANCELLED
    assert store.task(task.id) is None
    assert store.tasks("ann") == []
    assert store.delete(task.id) is None
    assert [step for step, _ in steps(store, "ann")] == ["grant", "reserve", "refund"]


def test_nobody_sees_or_ends_another_owners_task(store: Store) -> None:
    store.keys.create("ann", "free")
    task = store.submit(of("ann")).task
    assert store.task(task.id, "bob") is None
    assert store.cancel(task.id, "bob") is None
    assert store.delete(task.id, "bob") is None
    assert store.tasks("bob") == []
    assert store.events(0, "bob") == []
    assert store.task(task.id, "ann") == task


def test_tasks_are_listed_newest_first_by_state_and_kind_and_by_the_page(store: Store) -> None:
    made = [store.submit(of("local", kind=kind)).task.id for kind in ("act", "capture", "act")]
    claim = store.claim("w")
    assert claim is not None
    assert [t.id for t in store.tasks("local")] == made[::-1]
    assert [t.id for t in store.tasks(kind="capture")] == [made[1]]
    assert [t.id for t in store.tasks(states=[State.RUNNING])] == [made[0]]
    assert [t.id for t in store.tasks(limit=2)] == made[:0:-1]
    assert [t.id for t in store.tasks(before=made[1])] == [made[0]]


def test_events_go_on_after_any_number(store: Store) -> None:
    for _ in range(3):
        store.submit(TASK)
    numbers = [event.number for event in store.events(0)]
    assert numbers == sorted(set(numbers))
    assert [event.number for event in store.events(numbers[0], limit=1)] == [numbers[1]]
    assert store.last_event() == numbers[-1]
    assert store.events(numbers[-1]) == []


def test_more_than_a_tier_runs_at_once_waits_as_throttled(store: Store) -> None:
    store.keys.create("ann", "free")
    first, second = store.submit(of("ann")).task, store.submit(of("ann")).task
    assert (first.state, second.state) == (State.PENDING, State.THROTTLED)
    claim = store.claim("w")
    assert claim is not None
    assert store.claim("w") is None
    store.finish(claim, [], 4.0)
    following = store.claim("w")
    assert following is not None
    assert following.task.id == second.id


def test_more_than_a_tier_begins_in_a_day_waits_until_the_day_is_over(store: Store, clock: Clock) -> None:
    store.keys.create("ann", "free")
    for _ in range(4):
        store.submit(of("ann"))
    for _ in range(3):
        claim = store.claim("w")
        assert claim is not None
        store.finish(claim, [], 4.0)
    assert store.claim("w") is None
    assert [t.state for t in store.tasks("ann", states=[State.THROTTLED])] == [State.THROTTLED]
    assert store.standing("ann").begun_today == 3
    clock.now += 86_401
    store.reap()
    assert store.claim("w") is not None


def test_what_was_begun_may_be_begun_again_though_the_day_is_used_up(store: Store) -> None:
    store.keys.create("ann", "free")
    for _ in range(4):
        store.submit(of("ann"))
    for _ in range(2):
        claims(store, 1)
    third = store.claim("w")
    assert third is not None
    store.hand_back(third)
    again = store.claim("w")
    assert again is not None
    assert again.task.id == third.task.id
    store.finish(again, [], 4.0)
    assert store.claim("w") is None


def test_retries_count_once_in_a_day(store: Store) -> None:
    store.keys.create("ann", "free")
    store.submit(of("ann"))
    for _ in range(2):
        claim = store.claim("w")
        assert claim is not None
        store.fail(claim, "died", Code.CRASHED, for_good=False)
    assert store.standing("ann").begun_today == 1


def test_a_waiting_line_or_a_minute_that_is_full_refuses_more(store: Store, clock: Clock) -> None:
    store.keys.create("ann", "free")
    for _ in range(8):
        store.submit(of("ann", 1.0))
    with pytest.raises(LimitError, match="8 unfinished tasks") as refused:
        store.submit(of("ann", 1.0))
    assert refused.value.retry_after_s == 60
    for _ in range(12):
        store.cancel(store.tasks("ann", states=[State.THROTTLED, State.PENDING])[0].id)
        store.submit(of("ann", 1.0))
    with pytest.raises(LimitError, match="20 tasks a minute"):
        store.submit(of("ann", 1.0))
    clock.now += 61
    store.cancel(store.tasks("ann", states=[State.THROTTLED])[0].id)
    store.submit(of("ann", 1.0))


def test_a_repeated_request_is_answered_even_when_more_are_refused(store: Store) -> None:
    store.keys.create("ann", "free")
    for n in range(8):
        store.submit(of("ann", 1.0, key=str(n)))
    assert not store.submit(of("ann", 1.0, key="3")).is_new


def claims(store: Store, n: int) -> list[str]:
    """Whose tasks are taken up, in order; each is finished at once."""
    owners = []
    for _ in range(n):
        claim = store.claim("w")
        assert claim is not None
        owners.append(claim.task.owner)
        store.finish(claim, [], claim.task.seconds)
    return owners


def test_paid_tiers_go_before_free_ones(store: Store) -> None:
    for owner, tier in (("free", "free"), ("paid", "paid")):
        store.keys.create(owner, tier)
        for _ in range(2):
            store.submit(of(owner))
    assert claims(store, 4) == ["paid", "paid", "free", "free"]


def test_what_has_waited_long_goes_with_the_first_so_that_no_tier_starves(store: Store, clock: Clock) -> None:
    store.keys.create("free", "free")
    store.keys.create("paid", "paid")
    store.submit(of("free"))
    clock.now += 601
    for _ in range(6):
        store.submit(of("paid"))
    order = claims(store, 7)
    assert "free" in order[:2]


def test_keys_of_one_tier_take_turns_however_many_tasks_one_has(store: Store) -> None:
    for owner in ("ann", "bob", "cat"):
        store.keys.create(owner, "paid")
    for _ in range(12):
        store.submit(of("ann"))
    for owner in ("bob", "cat"):
        for _ in range(3):
            store.submit(of(owner))
    order = claims(store, 9)
    assert Counter(order) == {"ann": 3, "bob": 3, "cat": 3}
    assert all(len(set(order[i : i + 3])) == 3 for i in (0, 3, 6))


def test_who_sends_long_clips_waits_as_who_sends_many(store: Store) -> None:
    store.keys.create("long", "paid")
    store.keys.create("short", "paid")
    for _ in range(3):
        store.submit(of("long", 60.0))
    for _ in range(18):
        store.submit(of("short", 10.0))
    order = claims(store, 14)
    assert Counter(order) == {"long": 2, "short": 12}


def test_who_comes_back_is_not_owed_the_turns_they_were_away(store: Store) -> None:
    store.keys.create("ann", "paid")
    store.keys.create("bob", "paid")
    for _ in range(10):
        store.submit(of("ann"))
    assert set(claims(store, 8)) == {"ann"}
    for _ in range(4):
        store.submit(of("bob"))
    for _ in range(4):
        store.submit(of("ann"))
    assert Counter(claims(store, 8)) == {"ann": 4, "bob": 4}


def test_a_webhook_is_owed_once_a_task_is_over_until_it_is_delivered(store: Store, clock: Clock) -> None:
    hooked = Submission(owner="local", kind="act", order="{}", seconds=1.0, webhook="https://example.com/x")
    task = store.submit(hooked).task
    assert store.deliveries.due() == []
    store.cancel(task.id)
    (delivery,) = store.deliveries.due()
    assert (delivery.url, delivery.task.state, delivery.tries) == (hooked.webhook, State.CANCELLED, 0)
    store.deliveries.again(delivery.id, 30)
    assert store.deliveries.due() == []
    clock.now += 31
    (delivery,) = store.deliveries.due()
    assert delivery.tries == 1
    fresh = store.cancel(store.submit(replace(hooked, order='{"x": 1}')).task.id)
    assert [due.task for due in store.deliveries.due()] == [fresh, delivery.task]  # who was tried less goes first
    assert [due.task for due in store.deliveries.due(1)] == [fresh]
    for due in store.deliveries.due():
        store.deliveries.done(due.id)
    clock.now += 1e6
    assert store.deliveries.due() == []


def test_uploads_are_kept_while_an_unfinished_task_reads_them(store: Store, clock: Clock) -> None:
    store.keys.create("ann", "paid")
    read, unread = (store.uploads.announce("ann", name) for name in ("me.MP4", "../../etc/passwd"))
    assert read.path == f"uploads/{read.id}/upload.mp4"
    assert unread.path == f"uploads/{unread.id}/upload"
    received = store.uploads.received(read.id, 100)
    assert received is not None
    assert received.n_bytes == 100
    store.submit(Submission(owner="ann", kind="act", order="{}", seconds=1.0, uploads=(read.id,)))
    assert store.unwanted_uploads() == []
    clock.now += 90_000
    assert store.unwanted_uploads() == [unread]
    store.uploads.forget(unread.id)
    claim = store.claim("w")
    assert claim is not None
    store.finish(claim, [], 1.0)
    assert store.unwanted_uploads() == [received]
    assert store.uploads.received(unread.id, 1) is None


def test_what_was_spent_is_told_by_day_and_kind(store: Store, clock: Clock) -> None:
    store.keys.create("ann", "paid")
    begin = clock.now
    for kind, seconds in (("act", 2.0), ("act", 3.0), ("capture", 4.0)):
        store.submit(of("ann", seconds, kind))
        claims(store, 1)
    clock.now += 86_400
    store.submit(of("ann", 1.0))
    claims(store, 1)
    spent = [(s.day, s.kind, s.credits, s.tasks) for s in store.spent("ann", begin, clock.now)]
    assert spent == [("1970-01-12", "act", 25, 2), ("1970-01-12", "capture", 4, 1), ("1970-01-13", "act", 5, 1)]


def test_figures_count_tasks_attempts_and_credits(store: Store, clock: Clock) -> None:
    store.keys.create("ann", "paid")
    store.submit(of("ann"))
    store.submit(of("ann"))
    clock.now += 7
    claims(store, 1)
    figures = store.figures()
    assert figures.tasks == {("act", State.SUCCEEDED): 1, ("act", State.PENDING): 1}
    assert (figures.attempts, figures.failures, figures.credits, figures.oldest_waits_s) == (1, 0, 20, 7.0)


def test_an_unknown_kind_or_account_is_refused(store: Store) -> None:
    with pytest.raises(InputError, match="no price for film"):
        store.submit(of("local", kind="film"))
    with pytest.raises(InputError, match="no account bob"):
        store.submit(of("bob"))


def test_a_tariff_without_the_tier_of_an_account_is_refused(store: Store, url: str, tariff: Tariff) -> None:
    store.keys.create("ann", "paid")
    tiers = {name: tier for name, tier in tariff.tiers.items() if name != "paid"}
    with pytest.raises(InputError, match="no tier paid, which the account ann has"):
        Store(url, replace(tariff, tiers=tiers))


def test_a_database_of_another_version_is_refused(store: Store, url: str) -> None:
    with store.database.writing() as connection:
        connection.execute(update(about).values(version=99))
    with pytest.raises(InputError, match="tables of version 99; wanted 1"):
        Database(url)


@pytest.mark.parametrize("bad", ["nonsense", "mysql://host/name"])
def test_what_is_no_database_is_refused(bad: str) -> None:
    with pytest.raises(InputError, match="wanted"):
        Database(bad)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "jobs.sqlite"
    path.write_text("a letter to my mother, which is long enough not to be taken for an empty file" * 20)
    with pytest.raises(InputError, match=r"jobs\.sqlite cannot be used as a database \(file is not a database\)"):
        Database(sqlite_url(path))


def test_sqlite_writes_ahead_and_to_the_disk(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "jobs.sqlite"))
    with database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    database.close()
    assert sqlite3.connect(tmp_path / "jobs.sqlite").execute("PRAGMA integrity_check").fetchone() == ("ok",)


def _claim_all(url: str, tariff_file: Path, name: str, out: multiprocessing.Queue[list[str]]) -> None:
    store = Store(url, load_tariff(tariff_file))
    mine = []
    while (claim := store.claim(name)) is not None:
        mine.append(claim.task.id)
        store.finish(claim, [], 1.0)
    out.put(mine)


def test_many_processes_never_get_the_same_task(url: str, tariff: Tariff, tariff_file: Path) -> None:
    store = Store(url, tariff)
    for _ in range(40):
        store.submit(TASK)
    context = multiprocessing.get_context("spawn")
    out: multiprocessing.Queue[list[str]] = context.Queue()
    workers = [context.Process(target=_claim_all, args=(url, tariff_file, f"w{n}", out)) for n in range(3)]
    for worker in workers:
        worker.start()
    taken = [id for _ in workers for id in out.get(timeout=120)]
    for worker in workers:
        worker.join()
    assert sorted(taken) == sorted(task.id for task in store.tasks())
    assert len(taken) == 40


def test_many_threads_submitting_one_key_make_one_task_and_one_charge(store: Store) -> None:
    store.keys.create("ann", "paid")
    ids: list[str] = []
    threads = [
        threading.Thread(target=lambda: ids.append(store.submit(of("ann", key="once")).task.id)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 8
    assert len(set(ids)) == 1
    with store.database.reading() as connection:
        rows = connection.execute(select(ledger_table).where(ledger_table.c.step == "reserve")).all()
    assert len(rows) == 1
