"""From lines of JSON to batches of tokens. Only answers carry a loss."""

import json
import random
from typing import NamedTuple

import numpy as np
import torch

from tokenizer import ASSISTANT, END, PAD, SYSTEM, USER

SYSTEM_SHARE = 0.07
HISTORY_SHARE = 0.08
LONG_HISTORY_SHARE = 0.006
SYSTEM_MESSAGES = [
    "You are slmd, a small home assistant.",
    "You are slmd, the assistant of this home. Answer with a JSON action or one sentence.",
    "You are a helpful assistant.",
    "You are a smart home controller.",
    "Control the home. Reply briefly.",
    "Turn commands into JSON actions.",
]
IGNORED = -100
LENGTH_STEP = 8


def read_lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


class Turn(NamedTuple):
    """Token arrays without any special token."""

    prompt: np.ndarray
    answer: np.ndarray
    #: The answer as the tokenizer reads it back in a later prompt: in lower case.
    answer_read: np.ndarray


def encode_lines(tokenizer, lines):
    prompts = encode(tokenizer, [line["prompt"] for line in lines])
    read = encode(tokenizer, [line["expected"] for line in lines])
    normalizer, tokenizer.normalizer = tokenizer.normalizer, None
    answers = encode(tokenizer, [line["expected"] for line in lines])
    tokenizer.normalizer = normalizer
    return [Turn(*arrays) for arrays in zip(prompts, answers, read)]


def encode(tokenizer, texts):
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return [np.array(encoding.ids, np.int16) for encoding in encodings]


def last_turn(turn):
    """Tokens of the turn to answer, and for each of them whether it is part of the answer."""
    asked = question(turn.prompt)
    return [*asked, *turn.answer, END], [False] * len(asked) + [True] * (len(turn.answer) + 1)


def question(prompt):
    return [USER, *prompt, END, ASSISTANT]


def earlier_turn(turn):
    return [USER, *turn.prompt, END, ASSISTANT, *turn.answer_read, END]


def conversation(pairs, at, dice, system_messages, longest):
    """The turn at `at`, now and then after a system message or after other turns."""
    before = 0
    if dice.random() < HISTORY_SHARE:
        before = dice.randint(1, 3)
    elif dice.random() < LONG_HISTORY_SHARE:
        before = dice.randint(5, 12)
    tokens, answers = last_turn(pairs[at])
    for _ in range(before):
        earlier = earlier_turn(pairs[dice.randrange(len(pairs))])
        if len(earlier) + len(tokens) > longest - 40:
            break
        tokens, answers = earlier + tokens, [False] * len(earlier) + answers
    if dice.random() < SYSTEM_SHARE:
        system = [SYSTEM, *dice.choice(system_messages), END]
        tokens, answers = system + tokens, [False] * len(system) + answers
    return tokens[:longest], answers[:longest]


def batches(tokenizer, pairs, seed, budget, longest):
    """Endless batches of about `budget` tokens, each of sequences of about the same length."""
    dice = random.Random(seed)
    system_messages = [tokenizer.encode(text, add_special_tokens=False).ids for text in SYSTEM_MESSAGES]
    waiting = {}
    while True:
        order = list(range(len(pairs)))
        dice.shuffle(order)
        for at in order:
            tokens, answers = conversation(pairs, at, dice, system_messages, longest)
            length = -(-(len(tokens) - 1) // LENGTH_STEP) * LENGTH_STEP
            if length > 96:
                length = -(-length // 64) * 64
            bucket = waiting.setdefault(length, [])
            bucket.append((tokens, answers))
            if len(bucket) == max(1, budget // length):
                yield pad(waiting.pop(length), length)


def pad(sequences, length):
    """Inputs and targets; a target is ignored unless it is part of an answer."""
    inputs = np.full((len(sequences), length), PAD, np.int64)
    targets = np.full((len(sequences), length), IGNORED, np.int64)
    for row, (tokens, answers) in enumerate(sequences):
        tokens, answers = np.array(tokens), np.array(answers)
        inputs[row, : len(tokens) - 1] = tokens[:-1]
        targets[row, : len(tokens) - 1] = np.where(answers[1:], tokens[1:], IGNORED)
    return torch.from_numpy(inputs), torch.from_numpy(targets)
