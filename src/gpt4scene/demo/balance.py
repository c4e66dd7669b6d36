"""Choose rooms whose answers differ: no answer to a wording comes back more often than it must."""

from __future__ import annotations

from collections import Counter

import numpy as np

from gpt4scene.demo.plan import RoomPlan, draw_plan
from gpt4scene.demo.questions import questions


def choose_plans(count: int, seed: int, *, candidates: int = 40, exchanges: int = 80) -> list[RoomPlan]:
    """Return ``count`` plans named ``room0000_00`` onwards, each drawn ``candidates`` times.

    Of the draws the one is kept whose answers have been given least often to the same wordings in the rooms before;
    then ids and colours of two pieces are exchanged, ``exchanges`` times, where that makes its answers rarer still.
    Equal arguments give equal plans.
    """
    random = np.random.default_rng([seed, 0])
    plans: list[RoomPlan] = []
    given: Counter = Counter()
    asked: Counter = Counter()
    for number in range(count):
        scene_id = f"room{number:04d}_00"
        drawn = [draw_plan(scene_id, random, number) for _ in range(candidates)]
        best = min(range(len(drawn)), key=lambda index: (_cost(drawn[index], given, asked), index))
        plans.append(_reshuffled(drawn[best], given, asked, random, exchanges))
        for item in questions(plans[-1]):
            given[item.wording, item.truth] += 1
            asked[item.wording] += 1
    return plans


def _reshuffled(
    plan: RoomPlan, given: Counter, asked: Counter, random: np.random.Generator, exchanges: int
) -> RoomPlan:
    """Return ``plan`` with ids or colours of two pieces exchanged wherever that makes its answers rarer."""
    cost = _cost(plan, given, asked)
    for step in range(exchanges):
        if step % 2:
            other = plan.with_ids_exchanged(*random.choice(len(plan.pieces), 2, replace=False))
        else:
            first, second = random.choice(len(plan.unique), 2, replace=False)
            other = plan.with_colours_exchanged(plan.unique[first].id, plan.unique[second].id)
        other_cost = _cost(other, given, asked)
        if other_cost < cost:
            plan, cost = other, other_cost
    return plan


def _cost(plan: RoomPlan, given: Counter, asked: Counter) -> float:
    """Return the mean share of earlier rooms that gave the same answer, less a little for every shared wording."""
    items = questions(plan)
    shares = [given[item.wording, item.truth] / asked[item.wording] for item in items if asked[item.wording]]
    if not shares:
        return 0.0
    return float(np.mean(shares)) - 0.002 * len(shares)
