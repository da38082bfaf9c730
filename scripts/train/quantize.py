"""Weights as the int4 build will see them: symmetric, to nearest, one scale for each block of the input."""

from contextlib import contextmanager

import torch

BLOCK = 32


def fake_int4(weight, block=BLOCK):
    """The weight after it went through int4 and back, as the product's builder does it.

    q = clamp(round(w / s), -8, 7). Of two scales the one with the smaller squared error is kept: the extreme
    weight at -8, or the extreme weight at 7 or -7.
    """
    rows, columns = weight.shape
    blocks = weight.reshape(rows, columns // block, block)
    low, high = blocks.amin(dim=-1, keepdim=True), blocks.amax(dim=-1, keepdim=True)
    extreme = torch.where(high > -low, high, low)
    full, full_error = through(blocks, extreme / -8)
    even, even_error = through(blocks, extreme.abs() / 7)
    return torch.where(even_error < full_error, even, full).reshape(rows, columns)


def through(blocks, scale):
    """Blocks after quantization with a scale, and the squared error of each."""
    safe = torch.where(scale == 0, torch.ones_like(scale), scale)
    result = (blocks / safe).round_().clamp_(-8, 7).mul_(scale)
    return result, torch.linalg.vector_norm(result - blocks, dim=-1, keepdim=True)


@contextmanager
def as_int4(model, block=BLOCK):
    """The model with every matrix replaced by what int4 leaves of it, until the context ends.

    With the backward pass inside and the optimizer's step outside, this is a straight-through estimator: the
    gradient at the quantized weight is applied to the weight itself.
    """
    matrices = [weight for weight in model.parameters() if weight.dim() == 2]
    kept = [weight.data for weight in matrices]
    with torch.no_grad():
        for weight in matrices:
            weight.data = fake_int4(weight.data, block)
    try:
        yield model
    finally:
        for weight, data in zip(matrices, kept):
            weight.data = data
