"""Weights as the int4 build will see them: symmetric, to nearest, one scale for each block of the input."""

from contextlib import contextmanager

import torch

BLOCK = 32


def fake_int4(weight, block=BLOCK):
    """The weight after it went through int4 and back: q = clamp(round(w / s), -8, 7), s = max|w| / 7."""
    rows, columns = weight.shape
    blocks = weight.reshape(rows, columns // block, block)
    scale = (blocks.abs().amax(dim=-1, keepdim=True) / 7).clamp_min(1e-8)
    return ((blocks / scale).round().clamp(-8, 7) * scale).reshape(rows, columns)


class StraightThrough(torch.nn.Module):
    """A parametrization: quantized forward, as if it were not there backward."""

    def forward(self, weight):
        return weight + (fake_int4(weight) - weight).detach()


def is_quantized(weight):
    return weight.dim() == 2


def quantize_while_training(model):
    for module in list(model.modules()):
        if hasattr(module, "weight") and is_quantized(module.weight):
            torch.nn.utils.parametrize.register_parametrization(module, "weight", StraightThrough())


def plain_weights(model):
    """The weights themselves by their plain names, whether they are quantized while training or not."""
    state = model.state_dict()
    return {name.replace(".parametrizations.weight.original", ".weight"): value for name, value in state.items()}


@contextmanager
def as_int4(model, block=BLOCK):
    """A plain model with every matrix replaced by what int4 leaves of it."""
    kept = {}
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if is_quantized(weight):
                kept[name] = weight.clone()
                weight.copy_(fake_int4(weight, block))
    try:
        yield model
    finally:
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if name in kept:
                    weight.copy_(kept[name])
