"""How many bytes a training step holds on one device, by arithmetic: no model and no device is needed.

Bytes that layers keep for the backward pass are counted tensor by tensor, as the code keeps them; the tests hold them
against what PyTorch really saves. Everything else (weights, gradients, optimizer, buffers) follows the rules of DDP,
ZeRO (arXiv 1910.02054) and FSDP2. All figures are estimates, in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal

from gpt4scene.families.shape import ModelShape

Precision = Literal["fp32", "bf16", "pure_bf16"]
Sharding = Literal["one", "ddp", "zero0", "zero1", "zero2", "zero3", "fsdp2"]

RESERVE_SHARE, RESERVE_BYTES = 0.06, 1 << 30
"""What of a device stays free: for holes between blocks (a share of it) and for libraries' own buffers."""

GATHERED = 10**9
"""Parameters that ZeRO-3 holds whole at a time (``stage3_max_live_parameters`` in the examples)."""


@dataclass(frozen=True)
class PackSize:
    """Tokens of a pack: ``prefix`` and ``branches`` of ``branch`` each, ``labels`` of them learned.

    ``patches`` are those of the images; 0 where their features come from a cache.
    """

    prefix: int
    branches: int
    branch: int
    labels: int
    patches: int

    @property
    def tokens(self) -> int:
        """Tokens of the row."""
        return self.prefix + self.branches * self.branch


PUBLISHED_PACK = PackSize(prefix=8412, branches=1, branch=110, labels=20, patches=33_264)
"""One question of the published run: 33 images of 504x392 pixels."""


@dataclass(frozen=True)
class Setup:
    """What is trained, in which numbers, and how it is shared out to ``processes`` devices.

    ``kept_layers`` are the language layers that the backward pass goes through: the last n with ``freeze``, else all.
    ``state`` is what the optimizer keeps of a trained number, in bytes. ``offload`` keeps the optimizer in the host's
    memory, ``offload_weights`` the shards of weights, too. ``fused`` says that norms and SwiGLU run in
    one kernel each; ``rank`` is LoRA's, 0 without. ``quantised`` are the bytes of a number in the layers' matrices
    where those are kept in few bits, scales included.
    """

    method: Literal["full", "freeze", "lora"]
    precision: Precision
    trained: int
    kept_layers: int
    rank: int = 0
    trains_tower: bool = False
    sharding: Sharding = "one"
    offload: bool = False
    offload_weights: bool = False
    processes: int = 1
    state: float = 8.0
    fused: bool = False
    quantised: float | None = None

    @property
    def computes(self) -> int:
        """Bytes of a number that matrices are multiplied in."""
        return 4 if self.precision == "fp32" else 2

    @property
    def engine(self) -> bool:
        """Whether DeepSpeed or FSDP holds the weights, which then compute in their own precision."""
        return self.sharding.startswith("zero") or self.sharding == "fsdp2"

    @property
    def residual(self) -> int:
        """Bytes of a number between layers: fp32 where trained embeddings are, and autocast computes in bf16."""
        whole = self.method == "full" and self.precision == "bf16" and not self.engine
        return 4 if whole else self.computes

    @property
    def stored(self) -> int:
        """Bytes of a trained number, as one device keeps it."""
        return 2 if self.precision == "pure_bf16" or (self.precision == "bf16" and self.sharding[:4] == "zero") else 4


@dataclass(frozen=True)
class Memory:
    """Bytes on one device at the fullest moment of a step, by what they are for.

    ``tower`` is what a frozen tower needs beyond what the layers take in its place, or all of one that learns.
    """

    weights: float
    copies: float
    gradients: float
    optimizer: float
    gathered: float
    activations: float
    working: float
    logits: float
    tower: float

    @property
    def total(self) -> float:
        """All of it."""
        return sum(getattr(self, one.name) for one in fields(self))


def kept_by_layer(model: ModelShape, setup: Setup) -> float:
    """Return bytes a token that one language layer keeps for its backward pass, without checkpointing: their mean.

    Each norm: its input in fp32 and the root; with a trained weight the normed values, too (fused: the input alone).
    Attention: query, keys, values, output, log-sum-exp. Each linear module that learns: its input. SwiGLU: gate,
    its SiLU and up (fused: gate and up).
    """
    whole_layers, recurrent = model.layers - model.recurrent_layers, model.recurrent_layers
    kept = whole_layers * (_kept_by_attention(model, setup) + 7 * setup.rank * setup.computes)
    if recurrent:
        kept += recurrent * (_kept_by_recurrence(model, setup) + 8 * setup.rank * setup.computes)
    return kept / model.layers + _kept_beside(model, setup)


def _kept_beside(model: ModelShape, setup: Setup) -> float:
    """Bytes a token that norms, the inputs of attention and MLP, and the MLP keep."""
    c, h, i = setup.computes, model.hidden, model.intermediate
    whole = setup.method != "lora"
    norm = 2 * _norm(h, setup, setup.residual, whole, model.centred)
    inputs = 2 * h * c + i * c  # of q, k and v; of gate and up; of down. That of o is the attention's output
    if whole and setup.residual != c:
        inputs += 3 * h * c  # autocast casts the normed values for each module anew
    return norm + inputs + (2 if setup.fused else 3) * i * c


def _kept_by_attention(model: ModelShape, setup: Setup) -> float:
    """Bytes a token: query, keys, values, output, log-sum-exp; where the query is gated, the gate and what it gave."""
    c, whole = setup.computes, setup.method != "lora"
    kept = c * (2 * model.query_width + 2 * model.key_width) + 4 * model.heads
    if model.qk_norm:
        kept += _norm(model.query_width, setup, c, whole, model.centred)
        kept += _norm(model.key_width, setup, c, whole, model.centred)
    return kept + (2 * c * model.query_width if model.gated_query else 0)


def _kept_by_recurrence(model: ModelShape, setup: Setup) -> float:
    """Bytes a token that PyTorch's gated delta rule keeps, by chunks of 64 tokens in fp32: counted of what it saves.

    Twelve widths of queries or keys, five squares of a chunk, nine widths of values, a memory a chunk. In bf16 some of
    them are 2 bytes; in fp32 more of them are views. Kernels of flash-linear-attention keep less.
    """
    shape, whole = model.recurrent, setup.method != "lora"
    assert shape is not None, "a model of equal layers has none of these"
    mixed, keys, values, head = (4, 32, 26, 1314) if setup.computes == 2 else (12.7, 42.9, 23, 1336)
    chunk = 4 * shape.heads * shape.memory * shape.channels / 64
    if whole:
        values += 4 if setup.computes == 2 else 8
    own = mixed * shape.mixed + keys * shape.heads * shape.memory + values * shape.width + head * shape.heads
    return own + chunk


def _norm(width: int, setup: Setup, incoming: int, whole: bool, centred: bool) -> float:
    """Bytes a token that an RMS norm keeps, its output not among them. A ``centred`` one norms in fp32."""
    if setup.fused:
        return width * incoming + 4
    return width * (4 + ((4 if centred else incoming) if whole else 0)) + 4


def kept_by_checkpoint(model: ModelShape, setup: Setup) -> float:
    """Return bytes a token that one checkpointed layer keeps: its input."""
    return model.hidden * setup.residual


def estimate(model: ModelShape, setup: Setup, pack: PackSize, every: int) -> Memory:
    """Return the memory of a step on ``pack``; every ``every``-th layer is computed again, none where it is 0."""
    again = 0 if every == 0 else -(-setup.kept_layers // every)
    tokens = pack.tokens
    kept = kept_by_layer(model, setup)
    activations = again * kept_by_checkpoint(model, setup) + (setup.kept_layers - again) * kept
    # A layer that is computed again takes the place of the kept ones behind it, whose backward pass is over.
    last_again = again > 0 and (again - 1) * every == setup.kept_layers - 1
    working = (kept if last_again else 0) + setup.computes * (3 * model.intermediate + 3 * model.hidden)
    whole = 0 if setup.quantised is None else setup.computes * max(i * o for i, o in model.linear().values())
    weights, copies, gathered = _weights(model, setup)
    gradients, optimizer = _learning(setup)
    logits = pack.branches * pack.labels * model.vocabulary * (setup.computes + 12)
    tower = tower_bytes(model, setup, pack.patches, again > 0)
    if not setup.trains_tower:  # it is over before the layers begin
        tower = max(0.0, tower - tokens * (activations + working) - logits)
    return Memory(
        weights=weights,
        copies=copies,
        gradients=gradients,
        optimizer=optimizer,
        gathered=gathered,
        activations=tokens * activations,
        working=tokens * working + whole,  # a matrix of few bits is made whole for its product
        logits=logits,
        tower=tower,
    )


def _weights(model: ModelShape, setup: Setup) -> tuple[float, float, float]:
    """Return bytes of weights as stored, of their copies in bf16, and of those gathered from other devices."""
    frozen = model.parameters - (0 if setup.rank else setup.trained)
    shards = setup.processes if setup.sharding in ("zero3", "fsdp2") else 1
    weights = (setup.trained * setup.stored + frozen * setup.computes) / shards
    if setup.quantised is not None:
        weights -= model.linear_parameters * (setup.computes - setup.quantised)
    if setup.offload_weights:
        weights = 0.0
    copies = 0.0
    if setup.precision == "bf16" and not setup.engine:
        copies = 2.0 * setup.trained  # autocast keeps a cast of every trained weight until the forward pass is over
    gathered = 0.0
    if setup.sharding == "zero3":
        gathered = setup.computes * float(min(GATHERED, model.parameters))
    elif setup.sharding == "fsdp2":
        rest = model.parameters - model.all_layer_parameters
        gathered = setup.computes * float(2 * model.layer_parameters + rest)
    return weights, copies, gathered


def _learning(setup: Setup) -> tuple[float, float]:
    """Return bytes of gradients and of the optimizer's state, masters of DeepSpeed included."""
    trained, n = setup.trained, setup.processes
    if setup.sharding in ("one", "ddp"):
        buckets = 2 if setup.sharding == "ddp" else 1  # DDP reduces copies of them
        return float(trained * setup.stored * buckets), trained * setup.state
    if setup.sharding == "fsdp2":
        return trained * setup.stored / n, trained * setup.state / n
    shared = n if setup.sharding != "zero0" else 1
    gradients = trained * setup.computes / (n if setup.sharding in ("zero2", "zero3") else 1)
    if setup.offload:
        return gradients, 0.0
    # a master and a gradient in fp32, and the optimizer's own state
    return gradients, trained * ((8 if setup.precision != "fp32" else 0) + setup.state) / shared


def tower_bytes(model: ModelShape, setup: Setup, patches: int, checkpointed: bool) -> float:
    """Return bytes of the vision tower's work on ``patches``: of one block where it is frozen, of all where not."""
    tower, c = model.tower, setup.computes
    block = 2 * 4 * tower.width + c * (6 * tower.width + (4 if tower.gated else 2) * tower.intermediate)
    pixels = 4 * tower.patch
    if not setup.trains_tower:
        return float(patches * (pixels + block))
    kept = tower.depth * c * tower.width + block if checkpointed else tower.depth * block
    return float(patches * (pixels + kept))


def usable(device_bytes: float) -> float:
    """Return what a run may plan with on a device of which ``device_bytes`` are free."""
    return max(0.0, device_bytes * (1 - RESERVE_SHARE) - RESERVE_BYTES)


def least_checkpointing(model: ModelShape, setup: Setup, pack: PackSize, free_bytes: float) -> int | None:
    """Return the largest n so that computing every n-th layer again fits, 0 for none at all.

    ``free_bytes`` of the device are free before anything of the run is there. None: not even every layer fits.
    """
    room = usable(free_bytes)
    choices = (0, *range(setup.kept_layers, 0, -1))
    return next((every for every in choices if estimate(model, setup, pack, every).total <= room), None)


def largest_pack(
    model: ModelShape, setup: Setup, pack: PackSize, free_bytes: float, *, most: int, every: int = 1
) -> int:
    """Return the most branches, 1 to ``most``, of a pack like ``pack`` that fits with every ``every``-th layer anew.

    1 where none fits: a run then says so itself. ``pack.branches`` is not read.
    """
    room, fits = usable(free_bytes), 1
    for branches in range(2, most + 1):
        if estimate(model, setup, replace(pack, branches=branches), every).total > room:
            break
        fits = branches
    return fits
