"""Tiny random checkpoints of segmenters, which the real loaders read, and a segmenter whose answer is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt


def clipseg(directory: Path, seed: int = 0) -> Path:
    """CLIPSeg: CLIP's two towers and a decoder conditioned on the text."""
    import torch
    import transformers as tf

    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    pieces = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = tf.CLIPTokenizer(vocab=vocab, merges=[], pad_token="<|endoftext|>", model_max_length=16)
    config = tf.CLIPSegConfig(
        text_config={
            "vocab_size": len(pieces), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
            "num_attention_heads": 2, "max_position_embeddings": 16, "bos_token_id": vocab["<|startoftext|>"],
            "eos_token_id": vocab["<|endoftext|>"], "pad_token_id": vocab["<|endoftext|>"],
        },
        vision_config={
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 2,
            "image_size": 64, "patch_size": 16,
        },
        projection_dim=32, extract_layers=[1, 2], reduce_dim=16, decoder_num_attention_heads=2,
        decoder_intermediate_size=32,
    )  # fmt: skip
    torch.manual_seed(seed)
    tf.CLIPSegForImageSegmentation(config).save_pretrained(directory)
    images = tf.ViTImageProcessor(size={"height": 64, "width": 64})
    tf.CLIPSegProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(directory)
    return directory


def mask2former(directory: Path, seed: int = 0) -> Path:
    """Mask2Former on a small Swin transformer, with three classes."""
    import torch
    import transformers as tf

    backbone = tf.SwinConfig(
        image_size=64, patch_size=4, embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )  # fmt: skip
    config = tf.Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=32,
        encoder_layers=1, decoder_layers=2, num_attention_heads=2, dim_feedforward=32, num_queries=5,
        id2label={0: "house, building", 1: "water", 2: "tree"}, label2id={"house, building": 0, "water": 1, "tree": 2},
    )  # fmt: skip
    torch.manual_seed(seed)
    tf.Mask2FormerForUniversalSegmentation(config).save_pretrained(directory)
    tf.Mask2FormerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(directory)
    return directory


def sam(directory: Path, seed: int = 0) -> Path:
    """SAM: a windowed ViT, a prompt encoder and the decoder of masks."""
    import torch
    import transformers as tf

    config = tf.SamConfig(
        vision_config={
            "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 64, "patch_size": 8,
            "output_channels": 16, "window_size": 4, "global_attn_indexes": [1], "mlp_dim": 32, "num_pos_feats": 8,
        },
        prompt_encoder_config={
            "hidden_size": 16, "image_size": 64, "patch_size": 8, "mask_input_channels": 8,
        },
        mask_decoder_config={
            "hidden_size": 16, "mlp_dim": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
            "iou_head_hidden_dim": 16, "attention_downsample_rate": 2,
        },
    )  # fmt: skip
    torch.manual_seed(seed)
    tf.SamModel(config).save_pretrained(directory)
    images = tf.SamImageProcessor(
        size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}, mask_size={"longest_edge": 16},
        mask_pad_size={"height": 16, "width": 16},
    )  # fmt: skip
    tf.SamProcessor(image_processor=images).save_pretrained(directory)
    return directory


class Scripted:
    """A segmenter whose answer is known: what is brighter than the mean is the thing."""

    name, fingerprint = "scripted", "scripted:1"

    def __init__(self, prompt: str) -> None:
        self.prompt = prompt
        self.boxes: list[Any] = []

    labels = ("house, building", "water", "palm-tree")

    def classed(self, picture: npt.NDArray[np.uint8], numbers: list[int]) -> npt.NDArray[np.float32]:
        return self.named(picture, "") * (numbers == [1])

    def named(self, picture: npt.NDArray[np.uint8], text: str) -> npt.NDArray[np.float32]:
        grey = picture.mean(axis=2)
        return (grey < grey.mean()).astype(np.float32)

    def boxed(self, picture: npt.NDArray[np.uint8], boxes: list[Any]) -> npt.NDArray[np.float32]:
        self.boxes += boxes
        return np.stack([self.named(picture, "") for _ in boxes])
