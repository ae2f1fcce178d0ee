"""The tasks' part of `/metrics`, in Prometheus' text format."""

from __future__ import annotations

from server.jobs.records import State
from server.jobs.store import Store


def task_metrics(store: Store, prefix: str = "understudy") -> str:
    """Lines to follow the live sessions' own; they end in a newline."""
    figures = store.figures()
    lines = [f"# TYPE {prefix}_tasks gauge"]
    for kind in sorted(store.tariff.prices):
        for state in State:
            n = figures.tasks.get((kind, state), 0)
            lines.append(f'{prefix}_tasks{{kind="{kind}",state="{state.value.lower()}"}} {n}')
    totals = {
        "task_attempts": figures.attempts, "task_failures": figures.failures, "task_losses": figures.losses,
        "credits_charged": figures.credits,
    }  # fmt: skip
    for name, total in totals.items():
        lines += [f"# TYPE {prefix}_{name}_total counter", f"{prefix}_{name}_total {total}"]
    lines += [f"# TYPE {prefix}_task_oldest_wait_seconds gauge"]
    lines += [f"{prefix}_task_oldest_wait_seconds {figures.oldest_waits_s:.3f}"]
    return "\n".join([*lines, ""])
