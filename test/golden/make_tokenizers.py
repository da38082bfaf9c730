"""Makes tokenizers/*.json: small tokenizers of the kinds that the families have, and what they say of texts.

Needs the packages of requirements.txt. From the repository's root:

    python3 test/golden/make_tokenizers.py && npm run format

Each file holds a `tokenizer.json`, a `tokenizer_config.json`, and for each text its ids as they are
(`ids`), between the ids that frame an input (`framed`), and the text of `ids` without special tokens. The
vocabularies are trained here on a few lines, with the steps, the byte fallback and the kinds of added tokens
that the family's own tokenizer has.
"""

import json
import pathlib

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TRAINING = [
    "The lamp in the kitchen is on, and the lamp in the bedroom is off.",
    "It's warm: 21.5 degrees, 45 % humidity. What's the battery's charge? They're at 87 %.",
    "Turn the heating down to 18 degrees at 22:30, please! We'll be away until 2025-03-07.",
    "def main():\n    for i in range(10):\n        print(i)\n\n\nif __name__ == '__main__':\n    main()\n",
    "Größe, naïve, café, Straße; der Wärmepumpe geht es gut.  Двери закрыты. 温度是二十度。",
    "0 1 2 3 4 5 6 7 8 9 10 100 1000 2024 2025",
] * 4

TEXTS = [
    "",
    " ",
    "  ",
    "a",
    " a",
    "a ",
    "The lamp is on.",
    "  The  lamp   is    on. ",
    "It's 21.5 degrees, they'RE at 87%; WE'LL see.",
    "12345 1234567 1,234.5 ½ ² ٣",
    "line\nline\r\nline\n\n\nline \n \n end\n",
    "\ttab\t\ttabs \t mixed",
    "def f(x):\n    return x  # done\n\n\n",
    "Größe naïve café Straße ÄÖÜ",
    "cafe\u0301 Å \u212b \ufb01 \u1e9b\u0323",
    "Двери закрыты, 温度是二十度。 ドアは閉まっています。 دما ۲۱ درجه",
    "emoji 🦙🏽 👩‍👩‍👧 🇩🇪 ❤️ end",
    "zero\u200bwidth\u00a0nbsp\u3000ideographic\u2028separator",
    "\u0000\u0001\u007f\u0085 control",
    "\ufffd \ufeff \U0010ffff",
    "quotes 'single' \"double\" ‘curly’ `back` don't",
    "<|unknown|> <unk> <s> </s> [INST] {{ x }}",
    "▁ under ▁▁bar ▁a",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "!!!???...---===***",
]

LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_SPLIT = LLAMA3_SPLIT.replace(r"\p{N}{1,3}", r"\p{N}")


def byte_level(split: str | None, special: list[str], digits: bool = False, nfc: bool = False) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    steps = []
    if digits:
        steps.append(pre_tokenizers.Digits(individual_digits=True))
    if split is not None:
        steps.append(pre_tokenizers.Split(Regex(split), behavior="isolated", invert=False))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=split is None))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=[], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TRAINING, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    return tokenizer


def frame_with(tokenizer: Tokenizer, first: str) -> None:
    template = processors.TemplateProcessing(
        single=f"{first} $A", pair=f"{first} $A {first} $B", special_tokens=[(first, tokenizer.token_to_id(first))]
    )
    if isinstance(tokenizer.decoder, decoders.ByteLevel):
        template = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    tokenizer.post_processor = template


def llama3() -> tuple[Tokenizer, dict]:
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer = byte_level(LLAMA3_SPLIT, special)
    tokenizer.model.ignore_merges = True
    frame_with(tokenizer, "<|begin_of_text|>")
    return tokenizer, {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}


def qwen() -> tuple[Tokenizer, dict]:
    tokenizer = byte_level(QWEN_SPLIT, ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], nfc=True)
    # Qwen3 marks what thinking stands between as ordinary text.
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in ("<think>", "</think>")])
    return tokenizer, {"bos_token": None, "eos_token": "<|im_end|>"}


def granite() -> tuple[Tokenizer, dict]:
    special = ["<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>"]
    return byte_level(None, special, digits=True), {"bos_token": "<|end_of_text|>", "eos_token": "<|end_of_text|>"}


def byte_fallback(special: list[str], runs: list[tuple[str, str]]) -> Tokenizer:
    """A BPE over characters, with a token for each byte that no merge has. Runs are its first merges."""
    training = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    training.normalizer = normalizers.Replace(" ", "▁")
    training.pre_tokenizer = pre_tokenizers.Split("▁", behavior="merged_with_next")
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(
        vocab_size=len(special) + 256 + 190,
        special_tokens=special + bytes_,
        limit_alphabet=60,
        show_progress=False,
    )
    training.train_from_iterator(TRAINING, trainer)
    model = json.loads(training.to_str())["model"]
    merges = [tuple(merge) for merge in model["merges"]]
    vocabulary = model["vocab"]
    for first, second in runs:
        for text in (first, second, first + second):
            vocabulary.setdefault(text, len(vocabulary))
    merges = runs + [merge for merge in merges if merge not in runs]
    return Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))


def gemma() -> tuple[Tokenizer, dict]:
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    tokenizer = byte_fallback(special, [("▁", "▁"), ("▁▁", "▁▁"), ("▁▁", "▁"), ("\n", "\n"), ("\n\n", "\n")])
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    # Runs of line ends and spaces are added tokens as well as merges, and not special.
    runs = ["\n\n", "\n\n\n", "▁▁", "▁▁▁", "▁▁▁▁"]
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in runs])
    frame_with(tokenizer, "<bos>")
    return tokenizer, {"bos_token": "<bos>", "eos_token": "<end_of_turn>", "unk_token": "<unk>"}


def phi3() -> tuple[Tokenizer, dict]:
    special = ["<unk>", "<s>", "</s>"]
    tokenizer = byte_fallback(special, [("▁", "▁")])
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in special])
    turns = ["<|endoftext|>", "<|assistant|>", "<|system|>", "<|end|>", "<|user|>"]
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False, rstrip=True) for text in turns])
    return tokenizer, {"bos_token": "<s>", "eos_token": "<|end|>", "unk_token": "<unk>"}


def with_turns(name: str) -> list[str]:
    """Texts in which special tokens stand, as a rendered template has them."""
    return {
        "llama3": [
            "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nThe lamp?<|eot_id|>",
            "a<|eot_id|> b <|eot_id|>",
        ],
        "qwen": [
            "<|im_start|>user\nThe lamp?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
            "cafe\u0301<|im_end|>cafe\u0301",
        ],
        "granite": ["<|start_of_role|>user<|end_of_role|>12 lamps?<|end_of_text|>\n"],
        "gemma": [
            "<bos><start_of_turn>user\nThe lamp?<end_of_turn>\n<start_of_turn>model\n",
            "a\n\nb\n\n\nc    d  e",
            " <end_of_turn> a",
        ],
        "phi3": [
            "<|user|>\nThe lamp?<|end|>\n<|assistant|>\n",
            "<|user|> The lamp <|end|>  \n <|assistant|>",
            "<s> a</s>b",
        ],
    }[name]


def main() -> None:
    directory = pathlib.Path(__file__).parent / "tokenizers"
    for make in (llama3, qwen, granite, gemma, phi3):
        tokenizer, config = make()
        cases = []
        for text in TEXTS + with_turns(make.__name__):
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            cases.append(
                {
                    "text": text,
                    "ids": ids,
                    "framed": tokenizer.encode(text).ids,
                    "decoded": tokenizer.decode(ids, skip_special_tokens=True),
                }
            )
        content = {"tokenizer": json.loads(tokenizer.to_str()), "config": config, "cases": cases}
        (directory / f"{make.__name__}.json").write_text(json.dumps(content, ensure_ascii=True) + "\n")


if __name__ == "__main__":
    main()
