"""Optimizers: Adam, and Muon or SOAP for the convolution weights."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from training.recipe import Recipe

#: Coefficients of the quintic Newton-Schulz iteration (Jordan et al. 2024, "Muon").
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5

#: The decay of all running means of SOAP, and after how many steps its eigenvectors are updated.
_SOAP_DECAY = 0.95
_SOAP_FOLLOW_EVERY = 10


def orthogonalise(matrix: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly: singular values between 0.7 and 1.2."""
    a, b, c = _QUINTIC
    tall = matrix.shape[0] > matrix.shape[1]
    x: Tensor = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised; each filter bank is the matrix (out, in·k·k).

    The update's root mean square is that of Adam's at the same learning rate times 0.2, as in Liu et
    al. 2025 ("Muon is scalable for LLM training", eq. 4), so one schedule serves both optimizers.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                self._update(parameter, group["lr"], group["momentum"])

    def _update(self, parameter: Tensor, lr: float, momentum: float) -> None:
        gradient = parameter.grad
        assert gradient is not None
        buffer = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
        buffer.lerp_(gradient, 1.0 - momentum)
        nesterov = gradient.lerp(buffer, momentum)
        matrix = nesterov.reshape(nesterov.shape[0], -1)
        size = 0.2 * math.sqrt(max(matrix.shape))
        update = orthogonalise(matrix).reshape(parameter.shape)
        parameter.add_(update, alpha=-lr * size)


class SOAP(torch.optim.Optimizer):
    """Adam in the eigenvectors of Shampoo's preconditioner (Vyas et al. 2024, "SOAP", algorithm 3).

    Each filter bank is the matrix (out, in·k·k). The eigenvectors of its gradient's second moments on either
    side are updated every few steps, by one step of power iteration and a QR decomposition.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                self._update(parameter, group["lr"])

    def _update(self, parameter: Tensor, lr: float) -> None:
        assert parameter.grad is not None
        gradient = parameter.grad.flatten(1)
        state = self.state[parameter]
        if not state:
            self._begin(state, gradient)
            return
        state["step"] += 1
        left, right = state["left"], state["right"]
        state["mean"].lerp_(gradient, 1.0 - _SOAP_DECAY)
        state["square"].lerp_((left.T @ gradient @ right).square(), 1.0 - _SOAP_DECAY)
        unbias = 1.0 - _SOAP_DECAY ** state["step"]
        mean = left.T @ state["mean"] @ right / unbias
        update = left @ (mean / ((state["square"] / unbias).sqrt() + 1e-8)) @ right.T
        # A filter that never had a gradient is held; noise in its direction would be scaled up to a step.
        update[state["rows"].diagonal() == 0] = 0.0
        parameter.add_(update.reshape(parameter.shape), alpha=-lr)
        state["rows"].lerp_(gradient @ gradient.T, 1.0 - _SOAP_DECAY)
        state["columns"].lerp_(gradient.T @ gradient, 1.0 - _SOAP_DECAY)
        if state["step"] % _SOAP_FOLLOW_EVERY == 0:
            order, state["left"] = _followed(state["rows"], left)
            state["square"] = state["square"][order]
            order, state["right"] = _followed(state["columns"], right)
            state["square"] = state["square"][:, order]

    @staticmethod
    def _begin(state: dict[str, Any], gradient: Tensor) -> None:
        """The first gradient serves only to find the eigenvectors."""
        rows, columns = gradient @ gradient.T, gradient.T @ gradient
        state |= {"step": 0, "rows": rows, "columns": columns}
        state |= {
            "left": torch.linalg.eigh(rows).eigenvectors,
            "right": torch.linalg.eigh(columns).eigenvectors,
        }
        state |= {"mean": torch.zeros_like(gradient), "square": torch.zeros_like(gradient)}


def _followed(moments: Tensor, basis: Tensor) -> tuple[Tensor, Tensor]:
    """How to sort ``basis`` by its columns' share of ``moments``, and the basis after a step of iteration."""
    order = (basis * (moments @ basis)).sum(dim=0).argsort(descending=True)
    return order, torch.linalg.qr(moments @ basis[:, order]).Q


def build_optimizers(network: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Adam for all weights, or Muon or SOAP for the filter banks and Adam for the biases."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if recipe.optimizer == "adam":
        return [torch.optim.Adam(trained, lr=recipe.learning_rate)]
    banks = [parameter for parameter in trained if parameter.ndim == 4]
    biases = [parameter for parameter in trained if parameter.ndim != 4]
    matrices = Muon if recipe.optimizer == "muon" else SOAP
    return [matrices(banks, lr=recipe.learning_rate), torch.optim.Adam(biases, lr=recipe.learning_rate)]


def learning_rate_at(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then half a cosine down to ``final_learning_rate``."""
    if step < recipe.warmup:
        return recipe.learning_rate * (step + 1) / recipe.warmup
    progress = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    span = recipe.learning_rate - recipe.final_learning_rate
    return recipe.final_learning_rate + span * 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
