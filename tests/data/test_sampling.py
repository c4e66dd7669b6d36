from gpt4scene.data.groups import Groups
from gpt4scene.data.planning import plan_packs, plan_steps
from gpt4scene.data.sampling import PackSampler, StepSampler

SCENES = Groups(tuple(row % 7 for row in range(100)))


def test_the_sampler_follows_the_epoch():
    sampler = PackSampler(SCENES, 4, seed=5, rank=1, ranks=2)
    first = list(sampler)
    assert first == [tuple(pack) for pack in plan_packs(SCENES, 4, 5, 0, 2)[1]] and len(sampler) == len(first)
    sampler.set_epoch(1)
    second = list(sampler)
    assert second == [tuple(pack) for pack in plan_packs(SCENES, 4, 5, 1, 2)[1]] != first
    assert len(sampler) == len(second) == len(first)


def test_the_step_sampler_gives_every_step_equally_many_keys():
    groups = Groups((None,) * 5 + (0,) * 9 + (1,) * 4)
    for rank in (0, 1):
        sampler = StepSampler(groups, 2, 4, seed=1, rank=rank, ranks=2)
        assert sampler.steps == 3 and len(sampler) == 12
        seen = []
        for epoch in (0, 1):
            sampler.set_epoch(epoch)
            slots = list(sampler)
            assert len(slots) == 12
            seen.append(slots)
            for step, packs in enumerate(plan_steps(groups, 2, 4, 1, epoch, 2)[rank]):
                here = slots[4 * step : 4 * step + 4]
                assert here == [None] * (4 - len(packs)) + [tuple(pack) for pack in packs]
                assert here[-1] is not None
        assert seen[0] != seen[1]
