"""Makes tiny-llama.json: what transformers' LlamaForCausalLM says of the tiny checkpoints.

Needs torch and transformers. From the repository's root:

    node_modules/.bin/node test/golden/tiny-variants.ts /tmp/tiny
    python3 test/golden/make_tiny_llama.py /tmp/tiny > test/golden/tiny-llama.json

Logits are those of float32 arithmetic, at every position, for every 13th token of the vocabulary;
`best` is the most probable token of each position.
"""

import json
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM

COLUMN_STEP = 13
IDS = [7, 101, 32, 200, 255, 0, 64, 64, 99, 18, 230, 31, 5, 77, 143, 12, 250, 1, 90, 171]


def logits_of(directory: pathlib.Path) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32, attn_implementation="eager")
    model.eval()
    with torch.no_grad():
        return model(torch.tensor([IDS])).logits[0]


def main() -> None:
    torch.set_num_threads(1)
    variants = {}
    for directory in sorted(pathlib.Path(sys.argv[1]).iterdir()):
        logits = logits_of(directory)
        variants[directory.name] = {
            "best": logits.argmax(-1).tolist(),
            "logits": [[round(value, 6) for value in row] for row in logits[:, ::COLUMN_STEP].tolist()],
        }
    print('{\n"ids": ' + json.dumps(IDS) + f',\n"column_step": {COLUMN_STEP},\n"variants": {{')
    rows = []
    for name, golden in variants.items():
        logits = ",\n".join(json.dumps(row) for row in golden["logits"])
        rows.append(f'"{name}": {{"best": {json.dumps(golden["best"])},\n"logits": [\n{logits}\n]}}')
    print(",\n".join(rows) + "\n}\n}")


if __name__ == "__main__":
    main()
