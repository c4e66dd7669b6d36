"""How long a training step takes, by arithmetic: work over stated rates. All figures are estimates, in seconds.

Work counts products as two operations. ``useful`` work is what the gradients need: forward once, backward for what
learns. Work that is done again by checkpointing is not useful, as usual in model FLOP utilisation (PaLM, appendix B).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType

from gpt4scene.families.shape import ModelShape
from gpt4scene.training.memory import PackSize, Setup


@dataclass(frozen=True)
class Device:
    """A GPU by its data sheet: dense bf16 operations, bytes of its memory, bytes a second to it and to its neighbours.

    ``link`` is what one GPU sends a second to others of its node, ``net`` what a node sends over its network: rings
    of collectives cross from node to node through all of its adapters at once.
    """

    flops: float
    memory: float
    bandwidth: float
    link: float
    net: float


TERA, GIGA = 1e12, 1e9

DEVICES = MappingProxyType(
    {
        "H100": Device(989 * TERA, 80 * GIGA, 3.35 * TERA, 450 * GIGA, 400 * GIGA),
        "H200": Device(989 * TERA, 141 * GIGA, 4.8 * TERA, 450 * GIGA, 400 * GIGA),
        "A100-80": Device(312 * TERA, 80 * GIGA, 2.04 * TERA, 300 * GIGA, 200 * GIGA),
        "A100-40": Device(312 * TERA, 40 * GIGA, 1.56 * TERA, 300 * GIGA, 200 * GIGA),
        "4090": Device(165 * TERA, 24 * GIGA, 1.01 * TERA, 25 * GIGA, 3 * GIGA),
    }
)
"""Data sheets; ``net``: eight adapters of 400 Gbit/s beside H100 and H200, of 200 beside A100; 25 Gbit/s else."""

MATMUL, ATTENTION, STREAM, WIRE = 0.66, 0.36, 0.80, 0.70
"""Shares of the data sheet that large products, flash attention, streams of memory and collectives reach: assumed."""

PER_NODE = 8


@dataclass(frozen=True)
class Work:
    """Operations of a pack: ``products`` and ``attention`` that are useful, the tower's, and what is done again."""

    products: float
    attention: float
    tower: float
    again: float

    @property
    def useful(self) -> float:
        """Operations that utilisation counts."""
        return self.products + self.attention + self.tower


def work_of(model: ModelShape, setup: Setup, pack: PackSize, every: int) -> Work:
    """Return the operations of a pack, forward and backward, on one device."""
    tokens, own = pack.tokens, pack.branches * pack.branch
    pairs = pack.prefix**2 / 2 + own * pack.prefix + pack.branches * pack.branch**2 / 2
    forward = 2.0 * tokens * model.layer_matmul
    attended = 4.0 * pairs * model.query_width * (1 - model.recurrent_layers / model.layers)
    kept = setup.kept_layers
    # backward: gradients of inputs, and of weights where those learn; LoRA's own products are small
    whole = 0 if setup.method == "lora" else 1
    products = model.layers * forward + kept * forward * (1 + whole) + kept * 6.0 * tokens * _rank_work(model, setup)
    head = 2.0 * pack.branches * pack.labels * model.head_parameters * (2 + whole)
    again = 0 if every == 0 else -(-kept // every)
    return Work(
        products=products + head,
        attention=(model.layers + 2.5 * kept) * attended,
        tower=_tower_work(model, pack.patches) * (3 if setup.trains_tower else 1),
        again=again * (forward + attended + 2.0 * tokens * _rank_work(model, setup)),
    )


def forward_of(model: ModelShape, pack: PackSize) -> float:
    """Return the operations of one pass over the tokens of a pack, without a backward pass and without the tower."""
    setup = Setup(method="lora", precision="bf16", trained=0, kept_layers=0)
    work = work_of(model, setup, replace(pack, patches=0), every=0)
    return work.products + work.attention - 2.0 * pack.branches * pack.labels * model.head_parameters  # no gradients


def _rank_work(model: ModelShape, setup: Setup) -> float:
    """Return the weights of a layer's adapters."""
    return model.lora_parameters(setup.rank) / model.layers if setup.rank else 0.0


def _tower_work(model: ModelShape, patches: int) -> float:
    """Return the operations of the tower's forward pass; images of 1,008 patches attend to themselves."""
    tower = model.tower
    block = 2.0 * patches * tower.block_matmul + 4.0 * patches * min(patches, 1008) * tower.width
    merger = 2.0 * patches / tower.merge * tower.merger_parameters
    return tower.depth * block + 2.0 * patches * tower.patch * tower.width + merger


def streamed(model: ModelShape, setup: Setup, pack: PackSize, every: int) -> float:
    """Return the bytes that norms, SwiGLU, residuals, rotary embeddings and LoRA's sums read and write.

    Passes over each width, counted of the code: forward, backward, and forward again where computed again.
    """
    c, r, h, i = setup.computes, setup.residual, model.hidden, model.intermediate
    wide = model.query_width + model.key_width
    norm = (3 * r * h) if setup.fused else (2 * r + 30) * h
    gate = 3 * c * i if setup.fused else 5 * c * i
    rotary = 9 * c * wide
    adapters = 5 * c * sum(size for _, size in model.linear().values()) if setup.rank else 0
    casts = 5 * (r + c) * h if r != c else 0
    forward = 2 * norm + gate + rotary + adapters + casts + 6 * r * h
    backward = 2 * 1.5 * norm + 1.6 * gate + rotary + 0.6 * adapters + casts + 8 * r * h
    again = 0 if every == 0 else -(-setup.kept_layers // every)
    layers = model.layers * forward + setup.kept_layers * backward + again * forward
    return pack.tokens * layers


@dataclass(frozen=True)
class StepTime:
    """Seconds of a step on each device: its packs (``compute``, ``stream``), then ``wire`` and ``update``."""

    compute: float
    stream: float
    wire: float
    update: float
    useful: float
    peak: float

    @property
    def total(self) -> float:
        """Seconds, with half of the communication behind computing."""
        return self.compute + self.stream + self.update + self.wire / 2

    @property
    def utilisation(self) -> float:
        """Useful operations a second over the device's."""
        return self.useful / self.total / self.peak


def step_time(model: ModelShape, setup: Setup, pack: PackSize, every: int, device: Device, packs: int = 1) -> StepTime:
    """Return the time of an optimizer step of ``packs`` packs on each device."""
    work = work_of(model, setup, pack, every)
    peak = device.flops if setup.precision != "fp32" else device.flops / 16
    compute = (work.products + work.tower + work.again) / (peak * MATMUL) + work.attention / (peak * ATTENTION)
    copies = 6.0 * setup.trained if setup.precision == "bf16" and not setup.engine else 0.0
    stream = (streamed(model, setup, pack, every) + copies) / (device.bandwidth * STREAM)
    shards = setup.processes if setup.engine and setup.sharding != "zero0" else 1
    update = setup.trained / shards * (8 + 2 * setup.state + 4) / (device.bandwidth * STREAM)
    if setup.offload:
        update = setup.trained / shards * 16 / 50e9 + setup.trained / shards * 6 / 20e9  # host memory, and the bus
    return StepTime(
        compute=packs * compute,
        stream=packs * stream,
        wire=_wire(model, setup, device, packs),
        update=update,
        useful=packs * work.useful,
        peak=peak,
    )


def _wire(model: ModelShape, setup: Setup, device: Device, packs: int) -> float:
    """Return seconds of collectives: each byte goes once around the ring, within a node or over the network."""
    n = setup.processes
    if n == 1:
        return 0.0
    rate = WIRE * (device.link if n <= PER_NODE else device.net)
    share = (n - 1) / n
    gradient = setup.trained * (4 if setup.sharding in ("ddp", "fsdp2") and setup.precision != "pure_bf16" else 2)
    if setup.sharding in ("ddp", "zero0"):
        return 2 * share * gradient / rate
    whole = setup.computes * model.parameters
    if setup.sharding in ("zero3", "fsdp2"):  # weights twice a pack, gradients once a pack
        return packs * share * (2 * whole + gradient) / rate
    return share * (packs * gradient + setup.computes * setup.trained) / rate
