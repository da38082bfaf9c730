"""Checks that the checkpoint is what it says: transformers loads it and computes the same logits."""

import argparse
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from checkpoint import load_rounded
from evaluate import answer
from model import Shape
from tokenizer import ASSISTANT, END, SYSTEM, USER

CONVERSATION = [
    {"role": "system", "content": "You are slmd, a small home assistant."},
    {"role": "user", "content": "Turn on the lamp in the bedroom."},
    {"role": "assistant", "content": '{"action":"turn_on","target":"lamp","room":"bedroom"}'},
    {"role": "user", "content": "set it to 40 %"},
]
PROMPT = "Could you turn off the kitchen lights please?"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, required=True)
    directory = parser.parse_args().checkpoint
    tokenizer = AutoTokenizer.from_pretrained(directory)
    reference = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    ours = load_rounded(directory, Shape())

    ids = tokenizer.apply_chat_template(
        CONVERSATION, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )["input_ids"]
    expected = []
    for message in CONVERSATION:
        role = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT}[message["role"]]
        expected += [role, *tokenizer.encode(message["content"], add_special_tokens=False), END]
    assert ids[0].tolist() == [*expected, ASSISTANT], "the template writes other tokens than training does"

    with torch.no_grad():
        difference = (reference(ids).logits - ours.logits(ours(ids))).abs().max().item()
        length = ids.shape[1]
        late = torch.arange(512 - length, 512).unsqueeze(0)
        shift = (reference(ids, position_ids=late).logits - reference(ids).logits).abs().max().item()
    print(f"largest difference of a logit: {difference:.2e}; at the last positions of the context: {shift:.2e}")
    assert difference < 1e-3 and shift < 1e-2
    turn = tokenizer.apply_chat_template(
        [{"role": "user", "content": PROMPT}], add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        said = reference.generate(**turn, do_sample=False, max_new_tokens=64)[0, turn["input_ids"].shape[1] :]
    text = tokenizer.decode(said, skip_special_tokens=True)
    assert text == answer(ours, tokenizer.backend_tokenizer, PROMPT, END), "both must answer alike"
    print(f"{PROMPT}\n  {text}")


if __name__ == "__main__":
    main()
