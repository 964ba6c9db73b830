"""Tiny random checkpoints with the files and key layouts of the published ones. They exercise the real loaders.

Every function imports its libraries itself, so that this module can be imported on the base install.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

CLIP_CONFIG: dict[str, Any] = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "patch_size": 8, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
_WORDS = ("the", "a", "of", "in", "is", "lake", "river", "delta", "desert", "island", "salt", "dunes", "?", ".")


def clip_architecture(path: Path, **changes: Any) -> Path:
    """Write the JSON file of a tiny open_clip architecture."""
    path.write_text(json.dumps({**CLIP_CONFIG, **changes}), encoding="utf-8")
    return path


def clip_network(seed: int = 0) -> Any:
    """A tiny CLIP with random weights."""
    import open_clip
    import torch

    torch.manual_seed(seed)
    return open_clip.CLIP(**CLIP_CONFIG).eval()


def georsclip(path: Path) -> Path:
    """GeoRSCLIP's layout: the state dict of an open_clip model, nothing around it."""
    import torch

    torch.save(clip_network().state_dict(), path)
    return path


def remoteclip(path: Path) -> Path:
    """RemoteCLIP's layout: a plain state dict; here in half precision, as weights derived from OpenAI's may be."""
    import torch

    torch.save({key: tensor.half() for key, tensor in clip_network().state_dict().items()}, path)
    return path


def skyclip(path: Path) -> Path:
    """SkyCLIP's layout: a training checkpoint of a wrapped model, with epoch, name and optimizer."""
    import torch

    network = clip_network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    state = {f"module.{key}": tensor for key, tensor in network.state_dict().items()}
    torch.save({"epoch": 20, "name": "sky", "state_dict": state, "optimizer": optimizer.state_dict()}, path)
    return path


def _bert(directory: Path, labels: int | None) -> None:
    import torch
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    pieces = [*special, *_WORDS] + [w for w in letters if w not in _WORDS] + [f"##{c}" for c in letters]
    vocab = {piece: index for index, piece in enumerate(pieces)}
    raw = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer(lowercase=True)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.BertProcessing(("[SEP]", vocab["[SEP]"]), ("[CLS]", vocab["[CLS]"]))
    names = dict(zip(["pad_token", "unk_token", "cls_token", "sep_token", "mask_token"], special, strict=True))
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=64, **names)
    config = transformers.BertConfig(
        vocab_size=len(pieces),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        **({} if labels is None else {"num_labels": labels}),
    )
    torch.manual_seed(1)
    kind = transformers.BertModel if labels is None else transformers.BertForSequenceClassification
    kind(config).eval().save_pretrained(directory)
    tokenizer.save_pretrained(directory)


def sentence_transformer(directory: Path) -> Path:
    """A sentence-transformers directory in the layout of the published ones: BERT, mean pooling, normalisation."""
    _bert(directory, None)
    kinds = ["Transformer", "Pooling", "Normalize"]
    modules = [
        {"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    (directory / "modules.json").write_text(json.dumps(modules))
    (directory / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    (directory / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (directory / "2_Normalize").mkdir()
    lengths = {"max_seq_length": 64, "do_lower_case": False}
    (directory / "sentence_bert_config.json").write_text(json.dumps(lengths))
    return directory


def undefined(source: Path, destination: Path) -> Path:
    """A copy of a checkpoint whose weights are all NaN, as a training that diverged leaves them."""
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(source, destination)
    tensors = load_file(destination / "model.safetensors")
    broken = {k: torch.full_like(t, torch.nan) if t.is_floating_point() else t for k, t in tensors.items()}
    save_file(broken, destination / "model.safetensors", metadata={"format": "pt"})
    return destination


def without_vocabulary(source: Path, destination: Path) -> Path:
    """A copy of a checkpoint without the files of its tokenizer."""
    return Path(shutil.copytree(source, destination, ignore=shutil.ignore_patterns("tokenizer*", "vocab*", "merges*")))


def cross_encoder(directory: Path, labels: int = 1) -> Path:
    """A cross-encoder: BERT for sequence classification."""
    _bert(directory, labels)
    return directory


def _chat_tokenizer() -> Any:
    """Byte-level BPE without merges: it encodes any text and needs no training."""
    import transformers
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    special = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    raw = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|endoftext|>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{m['role']}}\n{% if m['content'] is string %}{{m['content']}}"
        "{% else %}{% for c in m['content'] %}{% if c['type']=='image' %}<|vision_start|><|image_pad|><|vision_end|>"
        "{% else %}{{c['text']}}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    return tokenizer


def qwen_vl(directory: Path, generation: str) -> Path:
    """A tiny Qwen vision-language model: ``generation`` is "2.5" or "3"."""
    import torch
    import transformers

    tokenizer = _chat_tokenizer()
    token = tokenizer.convert_tokens_to_ids
    third = generation == "3"
    rope: dict[str, Any] = {
        "rope_type": "default",
        "rope_theta": 1e4,
        "mrope_section": [4, 2, 2] if third else [2, 3, 3],
    }
    text: dict[str, Any] = {
        "vocab_size": len(tokenizer) + 16,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "bos_token_id": None,
        "eos_token_id": token("<|im_end|>"),
        "pad_token_id": tokenizer.pad_token_id,
        "rope_parameters": rope,
    }
    vision: dict[str, Any] = {
        "depth": 2,
        "hidden_size": 32,
        "out_hidden_size": 64,
        "intermediate_size": 64,
        "num_heads": 4,
        "patch_size": 16 if third else 14,
        "spatial_merge_size": 2,
    }
    if third:
        text["head_dim"] = 16
        rope["mrope_interleaved"] = True
        vision |= {"num_position_embeddings": 64, "deepstack_visual_indexes": [0]}
    else:
        vision |= {"fullatt_block_indexes": [1], "window_size": 56}
    tokens = {
        "image_token_id": token("<|image_pad|>"),
        "video_token_id": token("<|video_pad|>"),
        "vision_start_token_id": token("<|vision_start|>"),
        "vision_end_token_id": token("<|vision_end|>"),
    }
    names = ("Qwen3VL", "Qwen3VL") if third else ("Qwen2_5_VL", "Qwen2_5_VL")
    config = getattr(transformers, f"{names[0]}Config")(text_config=text, vision_config=vision, **tokens)
    torch.manual_seed(2)
    model = getattr(transformers, f"{names[0]}ForConditionalGeneration")(config)
    model.generation_config.eos_token_id = token("<|im_end|>")
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    side = vision["patch_size"] * 2
    if third:
        images = transformers.Qwen2VLImageProcessor(min_pixels=side * side, max_pixels=side * side * 16, patch_size=16)
        video = transformers.Qwen3VLVideoProcessor()
    else:
        images = transformers.Qwen2VLImageProcessor(min_pixels=side * side, max_pixels=side * side * 16)
        video = transformers.Qwen2VLVideoProcessor()
    processor = getattr(transformers, f"{names[1]}Processor")(
        image_processor=images, tokenizer=tokenizer, video_processor=video, chat_template=tokenizer.chat_template
    )
    model.save_pretrained(directory)
    processor.save_pretrained(directory)
    return directory
