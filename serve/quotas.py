"""The limits of a key hold over all ingress replicas: once a second each learns what the others have let through.

No request waits for it. A caller that sends a burst to every replica at once is admitted by each of them, and pays for
it afterwards: what the others let through is taken from its tokens, below zero, so that its rate is right on average.
While the actor is gone, each replica's limits are its own.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ray
from ray import serve
from ray.serve.config import DeploymentActorConfig

from serve.access import AccessControl

LOGGER = logging.getLogger("ray.serve")
ACTOR = "quotas"
EXCHANGE_S = 1.0
FORGET_S = 30.0
"""A replica that has said nothing for so many seconds is gone."""


@dataclass
class _Replica:
    """heard_at: when; in_flight: by caller; news: requests by caller that others let through, not told yet."""

    heard_at: float
    in_flight: dict[str, int]
    news: Counter[str] = field(default_factory=Counter)


class Quotas:
    """What the ingress replicas have let through. Ray Serve runs one for the deployment, and replaces it if it dies."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._replicas: dict[str, _Replica] = {}

    def exchange(
        self, name: str, spent: dict[str, int], in_flight: dict[str, int]
    ) -> tuple[dict[str, int], dict[str, int]]:
        """Takes a replica's requests by caller; returns those of the others, since it last asked and in flight."""
        now = self._clock()
        self._replicas = {key: each for key, each in self._replicas.items() if now - each.heard_at <= FORGET_S}
        this = self._replicas.setdefault(name, _Replica(now, {}))
        this.heard_at, this.in_flight = now, in_flight
        others = [each for each in self._replicas.values() if each is not this]
        elsewhere: Counter[str] = Counter()
        for other in others:
            other.news.update(spent)
            elsewhere.update(other.in_flight)
        news, this.news = this.news, Counter()
        return dict(news), dict(elsewhere)


def quotas_actor(resources: dict[str, float]) -> DeploymentActorConfig:
    """For the ingress' option ``deployment_actors``: the actor runs where machines have the ingress' resources."""
    options = {"num_cpus": 0, "resources": {name: min(0.001, amount) for name, amount in resources.items()}}
    return DeploymentActorConfig(name=ACTOR, actor_class=ray.remote(Quotas), actor_options=options)


def recent(spent: dict[str, int], seconds: float) -> dict[str, int]:
    """Of a replica's requests by caller over so many seconds, those to tell the others.

    Of a long time in which it could not tell, the part that falls on two exchanges: the others' tokens have been
    refilled meanwhile, which a full bucket loses; told all at once, a caller far below its rate would be refused.
    """
    share = min(1.0, 2 * EXCHANGE_S / max(seconds, EXCHANGE_S))
    return {caller: math.ceil(share * count) for caller, count in spent.items()}


async def keep_exchanging(access: AccessControl, name: str) -> None:
    """For the ingress replica ``name``, until it is cancelled.

    Whatever goes wrong, it tries again: without the actor, which may be starting again, the limits are this replica's
    own for a while. Until it succeeds, each kind of error is logged once.
    """
    actor: Any = None
    told_at, logged = time.monotonic(), set[type[Exception]]()
    while True:
        await asyncio.sleep(EXCHANGE_S)
        try:
            spent, in_flight = access.usage()
            telling = recent(spent, time.monotonic() - told_at)
            actor = actor or await asyncio.to_thread(serve.get_deployment_actor, ACTOR)
            news, elsewhere = await actor.exchange.remote(name, telling, in_flight)
            told_at = time.monotonic()
            access.settle(spent, news, elsewhere)
            logged.clear()
        except Exception as error:
            actor = None
            if type(error) not in logged:
                logged.add(type(error))
                LOGGER.warning("limits hold for this ingress replica alone for now", exc_info=True)
