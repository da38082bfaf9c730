"""The tokenizer: byte-level BPE of its own, with every digit on its own, that reads in lower case.

How a prompt is cased says nothing that matters here, so a normalizer takes it away. Answers keep their
case: they are encoded without the normalizer for training, and what is generated is never normalized.
"""

import json

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

SPECIAL = ["<|pad|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
PAD, SYSTEM, USER, ASSISTANT, END = range(5)


def train_tokenizer(lines, vocab_size):
    """Learns from prompts as they are read, in lower case, and from answers as they are written."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIAL,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    texts = (text for line in lines for text in (line["prompt"].lower(), line["expected"]))
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.normalizer = normalizers.Lowercase()
    if tokenizer.get_vocab_size() != vocab_size:
        raise SystemExit(f"the tokenizer has {tokenizer.get_vocab_size()} tokens, not {vocab_size}")
    return tokenizer


CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|assistant|>' -}}
{%- endif -%}
"""


def write_tokenizer(tokenizer, directory, context_length):
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context_length,
        "pad_token": SPECIAL[PAD],
        "eos_token": SPECIAL[END],
        "clean_up_tokenization_spaces": False,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
