"""Exact match under greedy decoding.

A greedy answer equals the expected one if and only if every expected token has the highest logit after the
expected tokens before it, so that one pass over the whole text is enough.
"""

import torch

from data import IGNORED, last_turn, pad, question


@torch.no_grad()
def exact_matches(model, pairs, rows=64):
    """For each pair, whether the model answers exactly as expected."""
    order = sorted(range(len(pairs)), key=lambda at: len(pairs[at][0]) + len(pairs[at][1]))
    right = [False] * len(pairs)
    for start in range(0, len(order), rows):
        chunk = order[start : start + rows]
        turns = [last_turn(pairs[at]) for at in chunk]
        inputs, targets = pad(turns, max(len(tokens) for tokens, _ in turns) - 1)
        best = model.logits(model(inputs)).argmax(-1)
        good = ((best == targets) | (targets == IGNORED)).all(dim=1)
        for at, is_right in zip(chunk, good.tolist()):
            right[at] = is_right
    return right


@torch.no_grad()
def answer(model, tokenizer, prompt, end, longest=96):
    """A greedy answer, one token at a time; for looking at what a model says."""
    ids = tokenizer.encode(prompt, add_special_tokens=False).ids
    tokens = question(ids)
    start = len(tokens)
    while len(tokens) - start < longest:
        best = int(model.logits(model(torch.tensor([tokens]))[0, -1]).argmax())
        if best == end:
            break
        tokens.append(best)
    return tokenizer.decode(tokens[start:])


def by_kind(lines, right):
    """Counts of (right, all) for each kind and for all kinds together."""
    counts = {}
    for line, is_right in zip(lines, right):
        for kind in (line["kind"], "all"):
            good, total = counts.get(kind, (0, 0))
            counts[kind] = (good + is_right, total + 1)
    return counts
