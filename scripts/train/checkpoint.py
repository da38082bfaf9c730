"""The checkpoint on disk, in the layout that Hugging Face tools read."""

import json

import torch
from safetensors.torch import load_file, save_file

from model import Decoder
from tokenizer import END, PAD, write_tokenizer


def write_checkpoint(directory, weights, shape, tokenizer):
    directory.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{name}": value.to(torch.bfloat16).contiguous() for name, value in weights.items()}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        **shape.as_dict(),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "bos_token_id": None,
        "eos_token_id": END,
        "pad_token_id": PAD,
        "use_cache": True,
    }
    write_json(directory / "config.json", config)
    generation = {"do_sample": False, "eos_token_id": END, "pad_token_id": PAD, "max_new_tokens": 96}
    write_json(directory / "generation_config.json", generation)
    write_tokenizer(tokenizer, directory, shape.max_position_embeddings)


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def load_rounded(directory, shape):
    """The model with the weights as they were written, so that numbers are those of the checkpoint."""
    model = Decoder(shape)
    weights = load_file(directory / "model.safetensors")
    model.load_state_dict({name.removeprefix("model."): value.float() for name, value in weights.items()})
    return model.eval()
