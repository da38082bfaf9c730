"""Makes tiny-models.json: what transformers says of the tiny checkpoints of every family.

Needs the packages of requirements.txt. From the repository's root:

    node_modules/.bin/node test/golden/tiny-variants.ts /tmp/tiny
    python3 test/golden/make_tiny_models.py /tmp/tiny > test/golden/tiny-models.json
    npm run format

Logits are those of float32 arithmetic, at every position, for every 13th token of the vocabulary;
`best` is the most probable token of each position, and `greedy` what follows the last one when the most
probable token is taken each time.
"""

import json
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM

COLUMN_STEP = 13
GREEDY_TOKENS = 16
IDS = [7, 101, 32, 200, 255, 0, 64, 64, 99, 18, 230, 31, 5, 77, 143, 12, 250, 1, 90, 171]


def load(directory: pathlib.Path):
    model, info = AutoModelForCausalLM.from_pretrained(
        directory, dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    # A tensor that is not found is filled with random numbers, and a golden of those is worth nothing.
    wrong = {key: value for key, value in info.items() if value}
    if wrong:
        raise SystemExit(f"{directory.name} was not loaded whole: {wrong}")
    return model.eval()


def logits_of(model, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([ids]), use_cache=False).logits[0]


def greedy(model) -> list[int]:
    ids = list(IDS)
    for _ in range(GREEDY_TOKENS):
        ids.append(int(logits_of(model, ids)[-1].argmax()))
    return ids[len(IDS) :]


def main() -> None:
    torch.set_num_threads(1)
    variants = {}
    for directory in sorted(pathlib.Path(sys.argv[1]).iterdir()):
        model = load(directory)
        logits = logits_of(model, IDS)
        variants[directory.name] = {
            "best": logits.argmax(-1).tolist(),
            "greedy": greedy(model),
            "logits": [[round(value, 6) for value in row] for row in logits[:, ::COLUMN_STEP].tolist()],
        }
    json.dump({"ids": IDS, "column_step": COLUMN_STEP, "variants": variants}, sys.stdout)


if __name__ == "__main__":
    main()
