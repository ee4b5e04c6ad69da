"""The dense part of the model: bottom MLP, interaction, top MLP, loss, and one SGD step.

As the simulated model has it: ReLU between layers, pairwise dot products of the pooled vectors and
the bottom MLP's output (or all of them side by side, averaged or through cross layers where the
model has that), binary cross entropy, plain SGD. On a GPU the whole step is captured once as a CUDA
graph and replayed, or launched kernel by kernel.

Half precision as PyTorch's automatic mixed precision has it: products in fp16 or bf16, weights,
their gradients, the loss and the pooled vectors in fp32. In fp16 the loss is scaled by a constant,
so that small gradients do not vanish; a scale that adapts is left out (it would make the host wait
for the GPU).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from simulator.config.model import ModelConfig
from simulator.observe.extra import require_torch
from simulator.systems.mlp import side_by_side, top_inputs

__all__ = ["RATE", "DenseStep"]

RATE = 0.01
"""Learning rate of rows and weights; its value changes no time."""

LOSS_SCALE = 4096.0
"""Of the loss in fp16: gradients of a mean over thousands of samples stay above 6e-8, the smallest
fp16 number, and sums over them below 65,504, the largest. Assumed; its value changes no time."""
_HALF = {"fp16": "float16", "bf16": "bfloat16"}


class DenseStep:
    """One training step of the dense part, with its own input and output tensors.

    `pooled` (samples, vectors, dim), `dense` (samples, features) and `labels` (samples,) are filled
    before `run()`; `gradient` (as `pooled`) holds the gradient of the pooled vectors after it; all
    fp32. `graph`: on a GPU, captured once and replayed; else launched kernel by kernel.

    `placed`: features by rank, where vectors come from several: `pooled` and `gradient` are flat
    then, the vectors of one rank's features (samples, its features, dim) behind those of another.

    `ranks`: of several that train together, each on as many samples as `model` says. Gradients are
    those of the mean over all samples; those of the weights lie in `flat`, to be summed over the
    ranks before `apply()` takes the step.
    """

    def __init__(
        self,
        model: ModelConfig,
        device: str,
        seed: int,
        *,
        graph: bool = True,
        ranks: int = 1,
        placed: Sequence[Sequence[int]] = (),
    ) -> None:
        self._torch = torch = require_torch()
        self._model = model
        self._device = device
        self._scale = LOSS_SCALE if model.mlp_precision == "fp16" else 1.0
        torch.backends.cuda.matmul.allow_tf32 = model.mlp_precision == "tf32"
        blocks = placed or [range(model.features)]
        self._blocks = [len(features) for features in blocks]
        """Features whose vectors lie together."""
        order = [feature for features in blocks for feature in features]
        self._place_of = torch.tensor(order, device=device).argsort()
        """Of the vectors of each feature."""
        shape: tuple[int, ...] = (model.batch_size, model.features, model.width)
        if len(self._blocks) > 1:
            shape = (model.batch_size * model.features * model.width,)
        self.pooled = torch.zeros(shape, device=device)
        self._vectors = [block.requires_grad_() for block in self._by_block(self.pooled)]
        self.dense = torch.zeros((model.batch_size, max(1, model.dense_features)), device=device)
        self.labels = torch.zeros(model.batch_size, device=device)
        self.gradient = torch.zeros(shape, device=device)
        self._gradients = self._by_block(self.gradient)
        self._bottom = self._layers(model.bottom_widths, seed, device)
        self._top = self._layers((top_inputs(model), *model.top_mlp), seed + 1, device)
        self._cross = self._cross_layers(seed + 2, device)
        self._pairs = self._pairs_that_meet()
        self._ranks = ranks
        self.flat = torch.zeros(sum(w.numel() for w in self.weights) * (ranks > 1), device=device)
        self._views = [] if ranks == 1 else self._cut(self.flat)
        self._graph: Any = None
        if graph and device == "cuda":
            self._capture()

    def _by_block(self, vectors: Any) -> list[Any]:
        """Vectors of the features of each rank, (samples, its features, dim)."""
        samples, width = self._model.batch_size, self._model.width
        parts = vectors.view(-1).split([samples * features * width for features in self._blocks])
        return [
            part.view(samples, features, width)
            for part, features in zip(parts, self._blocks, strict=True)
        ]

    def _pairs_that_meet(self) -> Any:
        """Places of both vectors of each pair, below the diagonal in the order of the features."""
        torch, count = self._torch, len(self._model.vector_widths)
        below = count - len(self._place_of)
        first = torch.arange(below, device=self._device)
        places = torch.cat([first, below + self._place_of])
        return places[torch.tril_indices(count, count, offset=-1, device=self._device)]

    def _layers(self, widths: tuple[int, ...], seed: int, device: str) -> list[tuple[Any, Any]]:
        """(weight, bias) of each layer, drawn on the CPU so that every device has the same."""
        torch = self._torch
        generator = torch.Generator().manual_seed(seed)
        layers = []
        for inputs, outputs in itertools.pairwise(widths):
            weight = torch.randn((outputs, inputs), generator=generator) * (2.0 / inputs) ** 0.5
            weight = weight.to(device).requires_grad_()
            layers.append((weight, torch.zeros(outputs, device=device, requires_grad=True)))
        return layers

    @property
    def weights(self) -> list[Any]:
        """All weights and biases."""
        return [part for layer in (*self._bottom, *self._cross, *self._top) for part in layer]

    def _cross_layers(self, seed: int, device: str) -> list[tuple[Any, Any, Any]]:
        """(V, U, bias) of each cross layer."""
        model = self._model
        if model.interaction != "cross":
            return []
        wide, rank = side_by_side(model), model.cross.rank
        made = []
        for layer in range(model.cross.layers):
            (down, _), (up, bias) = self._layers((wide, rank, wide), seed + layer, device)
            made.append((down, up, bias))
        return made

    def _cut(self, flat: Any) -> list[Any]:
        """`flat` as tensors of the shapes of the weights."""
        parts = flat.split([weight.numel() for weight in self.weights])
        return [part.view_as(w) for part, w in zip(parts, self.weights, strict=True)]

    def _products(self) -> AbstractContextManager[Any]:
        """Inside, products are in the model's precision."""
        half = _HALF.get(self._model.mlp_precision)
        if half is None:
            return nullcontext()
        torch = self._torch
        # a captured step must cast its weights anew: no cache of cast weights
        kind = getattr(torch, half)
        context: AbstractContextManager[Any] = torch.autocast(
            self._device, dtype=kind, cache_enabled=False
        )
        return context

    def _forward(self) -> Any:
        functional = self._torch.nn.functional
        x = self.dense
        for weight, bias in self._bottom:
            x = functional.relu(functional.linear(x, weight, bias))
        y = self._dot(x) if self._model.interaction == "dot" else self.crossed(self._in_order(), x)
        for number, (weight, bias) in enumerate(self._top):
            y = functional.linear(y, weight, bias)
            y = functional.relu(y) if number + 1 < len(self._top) else y
        loss = functional.binary_cross_entropy_with_logits(y[:, 0].float(), self.labels)
        factor = self._scale / self._ranks
        return loss if factor == 1.0 else loss * factor

    def _in_order(self) -> Any:
        """The pooled vectors of all features in their order."""
        if len(self._vectors) == 1:
            return self._vectors[0]
        return self._torch.cat(self._vectors, dim=1)[:, self._place_of]

    def _dot(self, below: Any) -> Any:
        """Products of all pairs, beside the bottom MLP's output."""
        torch = self._torch
        meet = [below.unsqueeze(1), *self._vectors] if self._bottom else self._vectors
        vectors = meet[0] if len(meet) == 1 else torch.cat(meet, dim=1)
        products = torch.bmm(vectors, vectors.transpose(1, 2))
        y = products[:, self._pairs[0], self._pairs[1]]
        return torch.cat([below, y], dim=1) if self._bottom else y

    def crossed(self, vectors: Any, below: Any) -> Any:
        """All vectors of a sample side by side, through the cross layers where there are some."""
        linear = self._torch.nn.functional.linear
        y = first = self._side_by_side(vectors, below)
        for down, up, bias in self._cross:
            y = first * linear(linear(y, down), up, bias) + y
        return y

    def _side_by_side(self, vectors: Any, below: Any) -> Any:
        """All vectors of a sample, and what lies below them where it has features."""
        torch, stride = self._torch, self._model.average_stride
        y = vectors.flatten(1)
        if stride is not None:
            pool = torch.nn.functional.avg_pool1d
            y = pool(y.unsqueeze(1), stride, ceil_mode=True).squeeze(1)
        return torch.cat([below, y], dim=1) if self._model.dense_features else y

    def _step(self) -> None:
        torch = self._torch
        count = len(self._vectors)
        inputs = [*self._vectors, *self.weights]
        with self._products():
            loss = self._forward()
        gradients = torch.autograd.grad(loss, inputs)
        with torch.no_grad():
            for target, gradient in zip(self._gradients, gradients[:count], strict=True):
                if self._scale == 1.0:
                    target.copy_(gradient)
                else:
                    torch.mul(gradient, 1.0 / self._scale, out=target)
            if self._ranks > 1:
                torch._foreach_copy_(self._views, list(gradients[count:]))
            else:
                steps = list(gradients[count:])
                torch._foreach_add_(self.weights, steps, alpha=-RATE / self._scale)

    def _capture(self) -> None:
        torch = self._torch
        saved = [weight.detach().clone() for weight in self.weights]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self._step()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # a thread that watches collectives may be at work meanwhile
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            self._step()
        self._graph = graph
        with torch.no_grad():
            for weight, old in zip(self.weights, saved, strict=True):
                weight.copy_(old)
        torch.cuda.synchronize()

    def run(self) -> None:
        """Forward, backward and update; on a GPU only launched, on the current stream."""
        if self._graph is None:
            self._step()
        else:
            self._graph.replay()

    def apply(self) -> None:
        """The step of the weights with the gradients in `flat`."""
        torch = self._torch
        with torch.no_grad():
            torch._foreach_add_(self.weights, self._views, alpha=-RATE / self._scale)
