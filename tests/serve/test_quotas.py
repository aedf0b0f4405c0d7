"""Limits of a key over several ingress replicas: what one lets through is taken from the others' tokens."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from contextlib import ExitStack

import httpx
import pytest
from ray import serve
from ray.exceptions import ActorDiedError
from small_networks import make_settings
from test_access import Clock
from test_cluster import TIMEOUT_S, address, cluster, num_running, versions, wait_until

from serve import app, quotas
from serve.access import AccessControl
from serve.problems import Problem
from serve.quotas import FORGET_S, Quotas, recent
from serve.settings import Limits

__all__ = ["address", "cluster", "versions"]  # fixtures


class Ingresses:
    """Ingress replicas of one application, without Ray; ``exchange`` is what each of them does once a second."""

    def __init__(self, count: int, limits: Limits) -> None:
        self.clock = Clock()
        self.quotas = Quotas(self.clock)
        self.replicas = [AccessControl(limits, None, self.clock) for _ in range(count)]

    def admitted(self, replica: int, requests: int) -> int:
        """How many of a caller's requests, which end at once, a replica admits."""
        return sum(self._admits(replica) for _ in range(requests))

    def _admits(self, replica: int) -> bool:
        try:
            with self.replicas[replica].admit("key"):
                return True
        except Problem:
            return False

    def exchange(self, *replicas: int) -> None:
        for index in replicas or range(len(self.replicas)):
            spent, in_flight = self.replicas[index].usage()
            self.replicas[index].settle(spent, *self.quotas.exchange(str(index), spent, in_flight))


def test_the_rate_is_that_of_the_key_however_many_replicas_there_are():
    ingresses = Ingresses(4, Limits(requests_per_second=10, burst=20, concurrent=100))
    ingresses.exchange()
    total = 0
    for second in range(60):
        total += sum(ingresses.admitted(replica, 30) for replica in range(4))
        if second == 0:
            assert total == 80, "a burst to all of them is admitted by each"
        ingresses.exchange()
        ingresses.clock.now += 1
    assert 10 * 60 - 10 <= total <= 10 * 60 + 80


def test_a_caller_within_its_limits_never_notices():
    ingresses = Ingresses(4, Limits(requests_per_second=10, burst=20, concurrent=100))
    ingresses.exchange()
    for second in range(60):
        assert sum(ingresses.admitted((second + n) % 4, 1) for n in range(9)) == 9
        ingresses.exchange()
        ingresses.clock.now += 1


def test_requests_in_flight_elsewhere_count():
    ingresses = Ingresses(2, Limits(concurrent=2, requests_per_second=100))
    ingresses.exchange()
    with ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(ingresses.replicas[0].admit("key"))
        ingresses.exchange()
        with pytest.raises(Problem, match="2 requests of this key are in flight"), ingresses.replicas[1].admit("key"):
            pass
    ingresses.exchange()
    ingresses.exchange()
    assert ingresses.admitted(1, 1)


def test_what_was_not_told_is_told_later():
    ingresses = Ingresses(2, Limits(requests_per_second=1, burst=20, concurrent=100))
    ingresses.exchange()
    assert ingresses.admitted(0, 15) == 15
    ingresses.replicas[0].usage()  # an exchange that failed
    ingresses.exchange()
    assert ingresses.admitted(1, 20) == 5


def test_a_caller_below_its_rate_is_not_refused_after_a_time_without_the_actor():
    ingresses = Ingresses(3, Limits(requests_per_second=10, burst=20, concurrent=100))
    ingresses.exchange()
    for _ in range(120):
        assert all(ingresses.admitted(replica, 2) == 2 for replica in range(3))
        ingresses.clock.now += 1
    for index, replica in enumerate(ingresses.replicas):
        spent, in_flight = replica.usage()
        assert spent == {"key": 240}
        replica.settle(spent, *ingresses.quotas.exchange(str(index), recent(spent, 120), in_flight))
    assert all(ingresses.admitted(replica, 2) == 2 for replica in range(3))
    assert all(replica.usage()[0] == {"key": 2} for replica in ingresses.replicas)


def test_a_replica_that_is_gone_is_forgotten():
    ingresses = Ingresses(2, Limits(concurrent=1, requests_per_second=100))
    with ingresses.replicas[0].admit("key"):
        ingresses.exchange()
        assert not ingresses.admitted(1, 1)
    ingresses.clock.now += FORGET_S + 1
    ingresses.exchange(1)
    assert ingresses.admitted(1, 1)


def test_one_replica_needs_no_quotas(settings):
    (several,) = (app.bind(settings)._bound_deployment.init_args[-1],)
    assert several is False
    more = make_settings({"recnet": "a", "dcnet": "b"}, ingress={"max_replicas": 2, "resources": {"steady": 1}})
    ingress = app.bind(more)._bound_deployment
    assert ingress.init_args[-1] is True
    (actor,) = ingress._deployment_config.deployment_actors
    assert actor.actor_options["resources"] == {"steady": 0.001} and actor.actor_options["num_cpus"] == 0


def test_no_error_ends_the_exchange(monkeypatch, caplog):
    """Errors of Ray and others, of the actor and of the replica: it goes on, and logs each kind with its traceback."""
    ingresses = Ingresses(2, Limits(requests_per_second=1, burst=20, concurrent=100))
    access = ingresses.replicas[0]
    failures: list[Exception] = [ValueError("no actor"), TypeError("a"), TypeError("b"), ActorDiedError(), KeyError(1)]
    settled: list[dict[str, int]] = []

    class Actor:
        @property
        def exchange(self) -> Actor:
            return self

        async def remote(self, *usage):
            if failures:
                raise failures.pop()
            return ingresses.quotas.exchange(*usage)

    def find(name: str) -> Actor:
        if len(failures) == 1:
            raise failures.pop()
        return Actor()

    def settle(*exchanged) -> None:
        AccessControl.settle(access, *exchanged)
        settled.append(exchanged[0])
        if len(settled) == 1:
            raise ZeroDivisionError

    monkeypatch.setattr(quotas, "EXCHANGE_S", 0.0)
    monkeypatch.setattr(quotas.serve, "get_deployment_actor", find)
    monkeypatch.setattr(access, "settle", settle)
    monkeypatch.setattr(quotas, "LOGGER", logging.getLogger(__name__))  # pytest hears Ray's own twice

    async def run() -> None:
        exchanging = asyncio.create_task(quotas.keep_exchanging(access, "0"))
        while len(settled) < 3 and not exchanging.done():
            await asyncio.sleep(0.001)
        exchanging.cancel()
        await asyncio.gather(exchanging, return_exceptions=True)
        assert exchanging.cancelled()

    asyncio.run(run())
    kinds = [record.exc_info[0].__name__ for record in caplog.records if record.exc_info]
    assert kinds == ["KeyError", "ActorDiedError", "TypeError", "ValueError", "ZeroDivisionError"]


@pytest.mark.drill
def test_two_ingress_replicas_share_the_limits_of_a_key(address, versions):
    """Requests of new connections, which the proxy spreads over both, come faster than the rate allows."""
    rate, burst, seconds = 0.2, 3, 60.0
    folders = versions["a"]
    settings = make_settings(
        folders,
        reconstruction={"weights": folders["recnet"], "num_cpus": 0.2},
        reenactment={"weights": folders["dcnet"], "num_cpus": 0.2},
        ingress={"min_replicas": 2, "max_replicas": 2, "num_cpus": 0.2, "resources": {"steady": 1}},
        limits={"requests_per_second": rate, "burst": burst},
    )
    serve.run(app.bind(settings))
    wait_until(lambda: num_running("Ingress") == 2, "two ingress replicas")
    time.sleep(5)  # so that both have heard of each other
    statuses: Counter[int] = Counter()
    start = time.monotonic()
    while (took := time.monotonic() - start) < seconds:
        response = httpx.post(f"{address}/v1/reconstruct", content=b"no photo", timeout=TIMEOUT_S)
        statuses[response.status_code] += 1
        time.sleep(0.2)
    print(f"{dict(statuses)} in {took:.0f} s; each alone would admit {rate * took + burst:.0f}")
    assert set(statuses) == {415, 429}
    assert statuses[415] <= rate * took + 2 * burst
