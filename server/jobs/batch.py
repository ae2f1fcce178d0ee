"""`understudy batch`: the rows of a manifest through the durable queue, without a server.

The queue lies beside the manifest (`jobs.csv.batch/`), so whatever stops a run, the next one goes on: a row
is known by what it orders and by its inputs' sizes and times, and what was done for it is not done again.
Outputs are made in there and take their own names when whole.
"""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from runtime.errors import InputError
from runtime.output import check_output, whole_file, write_failure
from runtime.writer import KINDS as VIDEOS
from server.capture import SUFFIXES as CAPTURED
from server.jobs.database import AwayError, in_words
from server.jobs.orders import KINDS, Order, as_text, inside, order_of, paths_of
from server.jobs.pool import Pool, PoolOptions
from server.jobs.records import State, Submission, Task
from server.jobs.store import Store, open_store
from server.jobs.tariff import LOCAL

COMMANDS = {"act": "act", "dub": "lip_sync", "capture": "capture"}  # as the command line calls them -> their kind
SUFFIXES = {"act": tuple(VIDEOS), "dub": tuple(VIDEOS), "capture": CAPTURED}  # of one file
LOOK_S = 0.2
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")

Progress = Callable[[float, int], None]  # rows that are done, parts of rows counted, of how many
Refuse = Callable[[int, str], None]  # a line of the manifest, and why nothing can be done about it


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    workers: int = 1  # rows worked on at once
    report: Path | None = None  # .csv or .json; None is a .report.csv beside the manifest
    force: bool = False  # write over existing outputs

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ValueError(f"--workers is {self.workers}; wanted 1 or more")
        if self.report is not None and self.report.suffix.lower() not in (".csv", ".json"):
            raise ValueError(f"--report is {self.report}; wanted a .csv or .json")


@dataclass(frozen=True)
class Row:
    """A line of the manifest that can be worked on."""

    line: int
    command: str
    order: Order
    output: Path


@dataclass(frozen=True)
class BadRow:
    line: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the report."""

    line: int  # of the manifest
    command: str
    output: str
    state: str  # SUCCEEDED, FAILED, or REFUSED where the row could not be read
    seconds: float | None = None  # of the result
    took_s: float | None = None  # from its first attempt to its end, other rows beside it
    attempts: int = 0
    failure: str = ""


@dataclass(frozen=True)
class Outcome:
    lines: tuple[Line, ...]
    report: Path

    @property
    def n_failed(self) -> int:
        return sum(line.state != State.SUCCEEDED.value for line in self.lines)


def batch(manifest: Path, options: BatchOptions, progress: Progress, refuse: Refuse) -> Outcome:
    """Work on every row that is not done yet; bad rows are told at once and stop no others.

    Raises InputError where there is no good one.
    """
    report = options.report or manifest.with_name(f"{manifest.name}.report.csv")
    check_output(report, True, made_of=[manifest])
    rows, bad = read_manifest(manifest)
    data = manifest.with_name(f"{manifest.name}.batch")
    try:
        data.mkdir(exist_ok=True)
    except OSError as error:
        raise write_failure(data, error) from error
    store = open_store(data)
    with in_words(), contextlib.closing(store):
        known, refused = _submit(store, data, rows, options.force)
        bad += refused
        if not known:
            raise InputError(f"{manifest} has no row that can be done; line {bad[0].line}: {bad[0].reason}")
        for row in bad:
            refuse(row.line, row.reason)
        pool = Pool(store, data, PoolOptions(workers=options.workers, quiet=True))
        pool.start()
        try:
            lines = _await(store, data, known, progress, pool)
        finally:
            pool.stop()
    lines += [Line(line=b.line, command="", output="", state="REFUSED", failure=b.reason) for b in bad]
    outcome = Outcome(tuple(sorted(lines, key=lambda line: line.line)), report)
    write_report(outcome)
    return outcome


# -- the manifest


def read_manifest(manifest: Path) -> tuple[list[Row], list[BadRow]]:
    """Its rows, and those that cannot be understood. Raises InputError where it is no manifest."""
    suffix = manifest.suffix.lower()
    if suffix not in (".csv", ".jsonl"):
        raise InputError(f"{manifest} has the suffix {suffix or '(none)'}; wanted .csv or .jsonl")
    rows: list[Row] = []
    bad: list[BadRow] = []
    folder = manifest.parent.resolve()
    written: dict[Path, int] = {}
    try:
        for number, told in _csv(manifest) if suffix == ".csv" else _jsonl(manifest):
            try:
                row = _row(number, told(), folder)
                if row.output in written:
                    raise InputError(f"{row.output} is written by line {written[row.output]} already")
            except InputError as error:
                bad.append(BadRow(number, str(error)))
            else:
                written[row.output] = number
                rows.append(row)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{manifest} cannot be read ({why}); wanted a .csv or .jsonl of jobs") from error
    if not rows and not bad:
        raise InputError(f"{manifest} has no rows; wanted one or more")
    return rows, bad


def _csv(manifest: Path) -> Iterator[tuple[int, Callable[[], Mapping[str, Any]]]]:
    with manifest.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, restkey="")
        if reader.fieldnames is None or "command" not in reader.fieldnames or "output" not in reader.fieldnames:
            raise InputError(
                f"{manifest} begins with {', '.join(reader.fieldnames or ()) or 'nothing'}; "
                "wanted names of columns, command and output among them"
            )
        for told in reader:
            words = {name.replace("-", "_"): word for name, word in told.items() if word}
            yield reader.line_num, lambda words=words: _typed(words)  # type: ignore[misc]


def _jsonl(manifest: Path) -> Iterator[tuple[int, Callable[[], Mapping[str, Any]]]]:
    def parsed(text: str) -> Mapping[str, Any]:
        try:
            told = json.loads(text)
        except json.JSONDecodeError as error:
            raise InputError(f"it is no JSON ({error})") from error
        if not isinstance(told, dict):
            raise InputError(f"it is a {type(told).__name__}; wanted an object")
        return told

    with manifest.open(encoding="utf-8-sig") as file:
        for number, text in enumerate(file, 1):
            if text.strip():
                yield number, lambda text=text: parsed(text)  # type: ignore[misc]


def _row(line: int, told: Mapping[str, Any], folder: Path) -> Row:
    values = dict(told)
    command, output = values.pop("command", None), values.pop("output", None)
    if command not in COMMANDS:
        raise InputError(f"command is {command!r}; wanted {', '.join(COMMANDS)}")
    if not isinstance(output, str) or not Path(output).suffix:
        raise InputError(f"output is {output!r}; wanted the name of a file to write")
    made = SUFFIXES[command]
    if Path(output).suffix.lower() not in made:
        raise InputError(f"output is {output!r}; wanted one file of the kind {', '.join(made)}")
    kind = COMMANDS[command]
    parts = {field.name for field in fields(KINDS[kind])} - {"options", "suffix"}
    known = parts | set(get_type_hints(get_type_hints(KINDS[kind])["options"]))
    if unknown := set(values) - known:
        raise InputError(
            f"{command} has no {min(unknown)}; wanted command, output and some of {', '.join(sorted(known))}"
        )
    options = {name: value for name, value in values.items() if name not in parts}
    named = {name: value for name, value in values.items() if name in parts}
    order = order_of(kind, {**named, "options": options, "suffix": Path(output).suffix.lower()})
    return Row(line, command, inside(order, folder), folder / output)


def _typed(words: Mapping[str, Any]) -> Mapping[str, Any]:
    """A table's words as the values they stand for; moves of a camera are parted by spaces."""
    if "" in words:
        raise InputError(f"it has more cells than there are columns: {words['']}")
    kind = COMMANDS.get(words.get("command", ""))
    if kind is None:
        return words
    hints = get_type_hints(get_type_hints(KINDS[kind])["options"])
    return {name: _value(name, hints.get(name), word) for name, word in words.items()}


def _value(name: str, hint: Any, word: str) -> Any:
    wanted = next((h for h in get_args(hint) if h is not type(None)), hint) if get_origin(hint) is not tuple else tuple
    if wanted is tuple:
        return word.split()
    if wanted is bool:
        if word.lower() not in (*_TRUE, *_FALSE):
            raise InputError(f"{name} is {word!r}; wanted true or false")
        return word.lower() in _TRUE
    if wanted in (int, float):
        try:
            return wanted(word)
        except ValueError as error:
            raise InputError(f"{name} is {word!r}; wanted a number") from error
    return word


# -- the run


def _submit(store: Store, data: Path, rows: list[Row], force: bool) -> tuple[dict[str, Row], list[BadRow]]:
    """Rows by the id of their task, those that were done before too, and rows that cannot be begun."""
    known: dict[str, Row] = {}
    bad: list[BadRow] = []
    for row in rows:
        try:
            known[_task(store, data, row, force).id] = row
        except InputError as error:
            bad.append(BadRow(row.line, str(error)))
    return known, bad


def _task(store: Store, data: Path, row: Row, force: bool) -> Task:
    """The task that does a row: the one that did, if it succeeded and its result is there, else one that will."""
    key, n = _key(row), 0
    order = as_text(row.order)
    while True:
        again = f"{key}:{n}"
        before = store.known(LOCAL, again)
        if before is None:
            if n == 0:
                _make_folder(row.output)
                check_output(row.output, force or row.order.options.force, made_of=paths_of(row.order))
            submission = Submission(
                owner=LOCAL, kind=COMMANDS[row.command], order=order, seconds=0.0, idempotency_key=again
            )
            return store.submit(submission).task
        is_there = row.output.exists() or any((data / output).exists() for output in before.outputs)
        if not before.state.is_over or (before.state is State.SUCCEEDED and is_there):
            return before
        n += 1  # it failed, or its result was taken away: that run again


def _make_folder(output: Path) -> None:
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_failure(output, error) from error


def _key(row: Row) -> str:
    """The same for the same order of the same files."""
    seen = [as_text(row.order), str(row.output)]
    for path in sorted(paths_of(row.order)):
        try:
            stat = path.stat()
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror})") from error
        seen.append(f"{path} {stat.st_size} {stat.st_mtime_ns}")
    return hashlib.sha256("\n".join(seen).encode()).hexdigest()


def _await(store: Store, data: Path, known: Mapping[str, Row], progress: Progress, pool: Pool) -> list[Line]:
    """Deliver each result as it is done, until all are. Raises AwayError."""
    far = dict.fromkeys(known, 0.0)
    waiting, changed = set(known), set(known)
    lines: list[Line] = []
    number = store.last_event()
    while True:
        for id in sorted(waiting & changed):
            task = store.task(id)
            assert task is not None, "a batch deletes no tasks"
            far[id] = task.progress
            if task.state.is_over:
                waiting.remove(id)
                far[id] = 1.0
                lines.append(_over(task, known[id], data))
        progress(sum(far.values()), len(known))
        if not waiting:
            return lines
        if pool.trouble is not None:
            raise AwayError(f"{pool.trouble}; {shutil.disk_usage(data).free >> 20} MB of its disk are left")
        time.sleep(LOOK_S)
        news = store.events(number)
        changed = {event.task for event in news}
        number = news[-1].number if news else number


def _over(task: Task, row: Row, data: Path) -> Line:
    failure = task.failure or ("" if task.state is State.SUCCEEDED else "it was cancelled")
    state = task.state.value
    if task.state is State.SUCCEEDED:
        try:
            deliver(data / task.outputs[0], row.output)
        except InputError as error:
            state, failure = State.FAILED.value, str(error)
    took = None if task.started is None or task.ended is None else round(task.ended - task.started, 3)
    return Line(
        line=row.line, command=row.command, output=str(row.output), state=state, failure=failure, took_s=took,
        seconds=round(task.seconds, 3) if state == State.SUCCEEDED.value else None, attempts=task.attempts,
    )  # fmt: skip


def deliver(made: Path, output: Path) -> None:
    """Give a result its own name, whole; nothing happens where that was done before."""
    if not made.exists():
        return
    try:
        os.replace(made, output)
    except OSError:  # another file system
        with whole_file(output, force=True) as partial:
            shutil.copyfile(made, partial)
        made.unlink()


def write_report(outcome: Outcome) -> None:
    """All rows in the manifest's order, as .csv or .json."""
    rows = [asdict(line) for line in outcome.lines]
    with whole_file(outcome.report, force=True) as partial:
        if outcome.report.suffix.lower() == ".json":
            partial.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
            return
        with partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Line)])
            writer.writeheader()
            writer.writerows(rows)
