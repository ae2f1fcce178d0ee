"""Webhooks: who asked to be told is told, signed, again and again until they say they heard it, or for about two hours.

What is owed is in the store, so it is told after a restart too; the same may come twice, with the same
`Understudy-Delivery`. Addresses are judged as those of inputs are, redirects are not followed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from server.api.fetch import Fetcher, FetchError
from server.api.service import Service
from server.api.signing import webhook_signature
from server.jobs.database import AwayError
from server.jobs.records import Delivery

log = logging.getLogger(__name__)

POLL_S = 0.5
AT_ONCE = 4  # a round is over when the slowest of so many has answered
GONE = 410  # whoever answers so wants to be told no more


@dataclass(frozen=True, kw_only=True)
class Patience:
    tries: int = 13
    first_s: float = 1.0  # waited after the first failure; twice as long after each further one
    longest_s: float = 3600.0
    answer_s: float = 15.0  # so long one may take to answer

    def wait_s(self, tries: int) -> float | None:
        """After so many failures; None is giving up."""
        return None if tries >= self.tries else min(self.longest_s, self.first_s * 2.0 ** (tries - 1))


class Webhooks:
    def __init__(self, service: Service, patience: Patience) -> None:
        self._service = service
        self._patience = patience
        limits = replace(service.options.fetching, seconds=patience.answer_s)
        self._fetcher = Fetcher(limits, frozenset(service.options.trusted_hosts))
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="webhook")

    async def run(self) -> None:
        """Tell whoever is owed it, until cancelled; a database that is away for a while is waited for."""
        while True:
            try:
                await self._round()
            except AwayError as error:
                log.warning("the database does not answer", extra={"why": str(error)})
            await asyncio.sleep(POLL_S)

    async def _round(self) -> None:
        loop = asyncio.get_running_loop()
        due = await asyncio.to_thread(self._service.store.deliveries.due, AT_ONCE)
        await asyncio.gather(*(loop.run_in_executor(self._threads, self._tell, delivery) for delivery in due))

    def _tell(self, delivery: Delivery) -> None:
        status, deliveries = self._sent(delivery), self._service.store.deliveries
        # An address may be a secret itself, so the log has its host alone.
        about = {"task": delivery.task.id, "host": urlsplit(delivery.url).netloc, "status": status}
        if 200 <= status < 300 or status == GONE:
            deliveries.done(delivery.id)
            log.info("a webhook is told", extra=about)
            return
        wait = self._patience.wait_s(delivery.tries + 1)
        if wait is None:
            deliveries.done(delivery.id)
            log.warning("a webhook is given up", extra={**about, "tries": delivery.tries + 1})
        else:
            deliveries.again(delivery.id, wait)
            log.info("a webhook is told again later", extra={**about, "in_s": wait})

    def _sent(self, delivery: Delivery) -> int:
        """The status that was answered, 0 for none."""
        task, now = delivery.task, int(time.time())
        details = self._service.details(task, self._service.address).model_dump(mode="json", by_alias=True)
        body = json.dumps({"type": "task.over", "task": details}).encode()
        headers = {
            "Content-Type": "application/json", "Understudy-Delivery": str(delivery.id),
            "Understudy-Signature": webhook_signature(self._service.signer.webhook_secret(task.owner), now, body),
        }  # fmt: skip
        try:
            return self._fetcher.post(delivery.url, body, headers)
        except FetchError:
            return 0
