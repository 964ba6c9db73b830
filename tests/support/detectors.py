"""Tiny random checkpoints of detectors by words, with the files of the published ones: the real loaders read them."""

from __future__ import annotations

from pathlib import Path

_WORDS = ("a", "the", "ship", "tank", "road", "bridge", ".", "?", "photo", "of")


def grounding_dino(directory: Path, seed: int = 0) -> Path:
    """Grounding DINO: Swin, BERT and two decoder layers (one cannot be loaded again)."""
    import torch
    import transformers as tf
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    pieces = [*special, *dict.fromkeys([*_WORDS, *letters]), *(f"##{c}" for c in letters)]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    raw = Tokenizer(models.WordPiece(vocab, unk_token="[UNK]"))
    raw.normalizer = normalizers.BertNormalizer(lowercase=True)
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    raw.post_processor = processors.BertProcessing(("[SEP]", vocab["[SEP]"]), ("[CLS]", vocab["[CLS]"]))
    names = dict(zip(["pad_token", "unk_token", "cls_token", "sep_token", "mask_token"], special, strict=True))
    tokenizer = tf.PreTrainedTokenizerFast(tokenizer_object=raw, model_max_length=64, **names)
    backbone = tf.SwinConfig(
        image_size=64, patch_size=4, embed_dim=16, depths=[1, 1, 1, 1], num_heads=[2, 2, 2, 2], window_size=4,
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    text = tf.BertConfig(
        vocab_size=len(pieces), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64,
    )  # fmt: skip
    config = tf.GroundingDinoConfig(
        backbone_config=backbone, text_config=text, d_model=32, encoder_layers=1, decoder_layers=2,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, num_queries=12,
        num_feature_levels=4, max_text_len=32, disable_custom_kernels=True,
    )  # fmt: skip
    torch.manual_seed(seed)
    tf.GroundingDinoForObjectDetection(config).save_pretrained(directory)
    images = tf.GroundingDinoImageProcessor(size={"shortest_edge": 64, "longest_edge": 96})
    tf.GroundingDinoProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(directory)
    return directory


def owlv2(directory: Path, seed: int = 0) -> Path:
    """OWLv2: two CLIP towers whose patches carry boxes."""
    import torch
    import transformers as tf

    letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
    pieces = [*letters, *(f"{c}</w>" for c in letters), "<|startoftext|>", "<|endoftext|>"]
    vocab = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = tf.CLIPTokenizer(vocab=vocab, merges=[], pad_token="<|endoftext|>", model_max_length=16)
    config = tf.Owlv2Config(
        text_config={
            "vocab_size": len(pieces), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1,
            "num_attention_heads": 2, "max_position_embeddings": 16, "bos_token_id": vocab["<|startoftext|>"],
            "eos_token_id": vocab["<|endoftext|>"], "pad_token_id": vocab["<|endoftext|>"],
        },
        vision_config={
            "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
            "image_size": 64, "patch_size": 16,
        },
        projection_dim=32,
    )  # fmt: skip
    torch.manual_seed(seed)
    tf.Owlv2ForObjectDetection(config).save_pretrained(directory)
    images = tf.Owlv2ImageProcessor(size={"height": 64, "width": 64})
    tf.Owlv2Processor(image_processor=images, tokenizer=tokenizer).save_pretrained(directory)
    return directory
