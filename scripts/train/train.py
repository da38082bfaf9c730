"""Trains slmd-home-3m from scratch and writes its checkpoint. See README.md for the one command that does it all."""

import argparse
import math
import random
import time
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from checkpoint import load_rounded, write_checkpoint
from data import IGNORED, batches, encode_lines, read_lines
from evaluate import by_kind, exact_matches
from model import Decoder, Shape
from quantize import as_int4
from tokenizer import train_tokenizer

TOKENIZER_LINES = 60_000
LONGEST_TRAINED = 384
WATCHED_LINES = 300


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="what generate.ts wrote")
    parser.add_argument("--out", type=Path, required=True, help="directory of the checkpoint")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--quantized-share", type=float, default=0.2, help="the last part of the steps")
    parser.add_argument("--batch-tokens", type=int, default=4096)
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="of the embedding and the norms")
    parser.add_argument("--matrix-learning-rate", type=float, default=2e-2, help="of all other matrices")
    parser.add_argument("--start", type=Path, help="a checkpoint to go on from, with its tokenizer")
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main():
    options = arguments()
    torch.manual_seed(options.seed)
    random.seed(options.seed)
    torch.set_num_threads(options.threads)
    train_lines = read_lines(options.data / "train.jsonl")
    splits = {name: read_lines(options.data / f"{name}.jsonl") for name in ("held-out-values", "held-out-phrasings")}
    shape = Shape()
    if options.start:
        tokenizer = Tokenizer.from_file(str(options.start / "tokenizer.json"))
    else:
        tokenizer = train_tokenizer(train_lines[:TOKENIZER_LINES], shape.vocab_size)
    pairs = encode_lines(tokenizer, train_lines)
    held_out = {name: encode_lines(tokenizer, lines) for name, lines in splits.items()}
    del train_lines
    model = load_rounded(options.start, shape).train() if options.start else Decoder(shape)
    print(f"{sum(weight.numel() for weight in model.parameters()):,} parameters, {len(pairs):,} lines", flush=True)

    train(model, tokenizer, pairs, held_out, options)
    write_checkpoint(options.out, model.state_dict(), shape, tokenizer)
    report(load_rounded(options.out, shape), splits, held_out)


def train(model, tokenizer, pairs, held_out, options):
    source = batches(tokenizer, pairs, options.seed, options.batch_tokens, LONGEST_TRAINED)
    quantized_from = round(options.steps * (1 - options.quantized_share))
    optimizers = make_optimizers(model, options)
    started, tokens, losses = time.monotonic(), 0, []
    for step in range(options.steps):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak"] * learning_rate_at(step, options.steps)
        inputs, targets = next(source)
        with as_int4(model) if step >= quantized_from else nullcontext():
            loss = loss_of(model, inputs, targets)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        tokens += inputs.numel()
        losses.append(loss.item())
        if (step + 1) % 100 == 0:
            seconds = time.monotonic() - started
            mean = sum(losses[-100:]) / 100
            print(f"step {step + 1} loss {mean:.4f} {tokens / seconds:,.0f} tokens/s {seconds:.0f} s", flush=True)
        if (step + 1) % 500 == 0:
            for name, examples in held_out.items():
                right = exact_matches(model, examples[:WATCHED_LINES])
                print(f"  {name}: {100 * sum(right) / len(right):.1f} %", flush=True)


def loss_of(model, inputs, targets):
    with torch.autocast("cpu", torch.bfloat16):
        hidden = model(inputs)
        wanted = targets != IGNORED
        logits = model.logits(hidden[wanted])
    return F.cross_entropy(logits.float(), targets[wanted])


def make_optimizers(model, options):
    """Muon for the matrices within the layers, AdamW for the embedding and the norms."""
    named = list(model.named_parameters())
    matrices = [weight for name, weight in named if weight.dim() == 2 and "embed" not in name]
    others = [weight for name, weight in named if weight.dim() != 2 or "embed" in name]
    optimizers = [
        torch.optim.Muon(matrices, lr=options.matrix_learning_rate, weight_decay=0.02),
        torch.optim.AdamW(others, lr=options.learning_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["peak"] = group["lr"]
    return optimizers


def learning_rate_at(step, steps):
    """A short warm-up, then a cosine down to a hundredth."""
    warm_up = min(200, steps // 20)
    if step < warm_up:
        return (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done))


def report(model, splits, held_out):
    """Exact match by split and kind, in float32 and as int4, of the weights as they were written."""
    print("\n| split | kind | lines | float32 | int4, block 32 | int4, block 64 |\n|---|---|---:|---:|---:|---:|")
    for name, lines in splits.items():
        plain = by_kind(lines, exact_matches(model, held_out[name]))
        with as_int4(model, 32):
            by_32 = by_kind(lines, exact_matches(model, held_out[name]))
        with as_int4(model, 64):
            by_64 = by_kind(lines, exact_matches(model, held_out[name]))
        for kind in ("command", "sensor", "other", "all"):
            cells = [f"{100 * good[kind][0] / good[kind][1]:.1f} %" for good in (plain, by_32, by_64)]
            print(f"| {name} | {kind} | {plain[kind][1]} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
