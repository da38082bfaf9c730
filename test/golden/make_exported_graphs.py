"""Makes exported-graphs/: one tiny Llama as PyTorch exports it, in the forms that model hubs have.

Needs the packages of requirements.txt. From the repository's root:

    python3 test/golden/make_exported_graphs.py test/golden/exported-graphs

The graph and the tools that quantize it know nothing of slmd. `expected.json` has what follows the prompt when
the most probable token is taken each time: by transformers for the checkpoint, and for each form by a loop over
ONNX Runtime's Python binding, in which every form is given the tokens that transformers chose.
"""

import gzip
import json
import pathlib
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import helper, numpy_helper
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.matmul_bnb4_quantizer import MatMulBnb4Quantizer
from onnxruntime.transformers.float16 import convert_float_to_float16
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.cache_utils import DynamicCache

LAYERS, KV_HEADS, HEAD_SIZE = 2, 2, 8
TOKENS = 16
PROMPT = [(i * 53 + 7) % 256 for i in range(24)]
BLOCK = 32
CACHE = [f"{layer}.{kind}" for layer in range(LAYERS) for kind in ("key", "value")]


class Exported(torch.nn.Module):
    """The model with its cache as arguments and results."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, position_ids, *past):
        cache = DynamicCache()
        for i in range(0, len(past), 2):
            cache.update(past[i], past[i + 1], i // 2)
        held, new = past[0].shape[2], input_ids.shape[1]
        seen = torch.arange(held + new)[None, :] <= torch.arange(held, held + new)[:, None]
        seen = seen & attention_mask.bool()[:, None, None, :]
        out = self.model(
            input_ids=input_ids,
            attention_mask=torch.where(seen, 0.0, -1e9),
            position_ids=position_ids,
            past_key_values=cache,
            use_cache=True,
        )
        layers = out.past_key_values.layers
        return (out.logits, *(part for layer in layers for part in (layer.keys, layer.values)))


def make_model() -> LlamaForCausalLM:
    torch.manual_seed(3)
    config = LlamaConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=LAYERS,
        num_attention_heads=4,
        num_key_value_heads=KV_HEADS,
        head_dim=HEAD_SIZE,
        vocab_size=260,
        max_position_embeddings=256,
        attn_implementation="eager",
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for tensor in model.parameters():
            if tensor.dim() > 1:
                tensor.mul_(10)
    return model


def export(model, path: str) -> None:
    past = [torch.zeros(1, KV_HEADS, 4, HEAD_SIZE) for _ in CACHE]
    names = ["input_ids", "attention_mask", "position_ids"] + [f"past_key_values.{part}" for part in CACHE]
    outputs = ["logits"] + [f"present.{part}" for part in CACHE]
    axes = {name: {0: "batch_size", 1: "sequence_length"} for name in ("input_ids", "position_ids", "logits")}
    axes["attention_mask"] = {0: "batch_size", 1: "total_sequence_length"}
    axes |= {name: {0: "batch_size", 2: "past_sequence_length"} for name in names[3:]}
    axes |= {name: {0: "batch_size", 2: "total_sequence_length"} for name in outputs[1:]}
    example = (torch.tensor([[1, 2, 3]]), torch.ones(1, 7, dtype=torch.int64), torch.tensor([[4, 5, 6]]), *past)
    torch.onnx.export(
        Exported(model),
        example,
        path,
        input_names=names,
        output_names=outputs,
        dynamic_axes=axes,
        dynamo=False,
        opset_version=17,
    )


def four_bits(model: onnx.ModelProto) -> onnx.ModelProto:
    """MatMul by a constant → MatMulNBits, each block of a column rounded to the nearest of sixteen levels."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "MatMul" or node.input[1] not in weights:
            continue
        name = node.input[1]
        matrix = numpy_helper.to_array(weights[name]).T
        rows, columns = matrix.shape
        blocks = matrix.reshape(rows, columns // BLOCK, BLOCK)
        scales = np.abs(blocks).max(axis=2) / 7
        levels = np.clip(np.round(blocks / scales[:, :, None]) + 8, 0, 15).astype(np.uint8)
        packed = levels[:, :, 0::2] | (levels[:, :, 1::2] << 4)
        model.graph.initializer.extend(
            [
                numpy_helper.from_array(packed, f"{name}_blocks"),
                numpy_helper.from_array(scales.astype(np.float32), f"{name}_scales"),
            ]
        )
        model.graph.initializer.remove(weights[name])
        replacement = helper.make_node(
            "MatMulNBits",
            [node.input[0], f"{name}_blocks", f"{name}_scales"],
            list(node.output),
            node.name,
            domain="com.microsoft",
            K=columns,
            N=rows,
            bits=4,
            block_size=BLOCK,
            accuracy_level=4,
        )
        node.CopyFrom(replacement)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return model


def forms(path: str, directory: pathlib.Path) -> dict[str, str]:
    """The suffix of each form and its graph."""

    def at(suffix: str) -> str:
        return str(directory / f"model{suffix}.onnx")

    quantize_dynamic(path, at("_int8"), weight_type=QuantType.QInt8)
    quantize_dynamic(path, at("_uint8"), weight_type=QuantType.QUInt8)
    quantize_dynamic(path, at("_quantized"), weight_type=QuantType.QInt8, per_channel=True)
    bnb4 = MatMulBnb4Quantizer(onnx.load(path), quant_type=1, block_size=64)
    bnb4.process()
    bnb4.model.save_model_to_file(at("_bnb4"))
    onnx.save(convert_float_to_float16(onnx.load(path), keep_io_types=False), at("_fp16"))
    onnx.save(four_bits(onnx.load(path)), at("_q4"))
    onnx.save(convert_float_to_float16(onnx.load(at("_q4")), keep_io_types=False), at("_q4f16"))
    suffixes = ["", "_q4", "_q4f16", "_int8", "_uint8", "_quantized", "_bnb4", "_fp16"]
    return {suffix: at(suffix) for suffix in suffixes}


def tokens_of(path: str, given: list[int]) -> list[int]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    half = next(value for value in session.get_inputs() if value.name.startswith("past")).type == "tensor(float16)"
    empty = np.zeros((1, KV_HEADS, 0, HEAD_SIZE), np.float16 if half else np.float32)
    cache = {part: empty for part in CACHE}
    tokens, held, new = [], 0, PROMPT
    while True:
        total = held + len(new)
        feeds = {
            "input_ids": np.array([new]),
            "attention_mask": np.ones((1, total), np.int64),
            "position_ids": np.arange(held, total)[None, :],
        } | {f"past_key_values.{part}": value for part, value in cache.items()}
        logits, *present = session.run(None, feeds)
        cache = dict(zip(CACHE, present))
        tokens.append(int(logits[0, -1].argmax()))
        if len(tokens) == TOKENS:
            return tokens
        held, new = total, [given[len(tokens) - 1]]


def main() -> None:
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    model = make_model()
    ids = list(PROMPT)
    with torch.no_grad():
        for _ in range(TOKENS):
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    greedy = ids[len(PROMPT) :]
    expected = {"prompt": PROMPT, "greedy": greedy, "forms": {}}
    with tempfile.TemporaryDirectory() as made:
        directory = pathlib.Path(made)
        path = str(directory / "model.onnx")
        export(model, path)
        for suffix, graph in forms(path, directory).items():
            expected["forms"][suffix] = tokens_of(graph, greedy)
            packed = gzip.compress(pathlib.Path(graph).read_bytes(), mtime=0)
            (out / f"model{suffix}.onnx.gz").write_bytes(packed)
    (out / "expected.json").write_text(json.dumps(expected))
    (out / "config.json").write_text(model.config.to_json_string(use_diff=False))


main()
