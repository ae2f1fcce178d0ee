"""A Wan-Animate of a few thousand numbers, all by chance: every part that the real one has, in diffusers' form."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the command line does, before torch reads it
pytest.importorskip("diffusers", reason="make wan-animate brings it")
pytest.importorskip("transformers", reason="make wan-animate brings it")
pytest.importorskip("accelerate", reason="make wan-animate brings it")
pytest.importorskip("ftfy", reason="make wan-animate brings it")

import torch
from diffusers import (
    AutoencoderKLWan,
    FlowMatchEulerDiscreteScheduler,
    WanAnimatePipeline,
    WanAnimateTransformer3DModel,
)
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    CLIPVisionModel,
    PreTrainedTokenizerFast,
    UMT5Config,
    UMT5EncoderModel,
)

torch.set_num_threads(1)  # these are too small to share

FACE_PX = 16
WORDS = ("<pad>", "</s>", "<unk>", "people", "in", "the", "video", "are", "doing", "actions", "dancing")


def save(folder: Path) -> Path:
    """Its folder."""
    torch.manual_seed(0)
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    text = UMT5Config(vocab_size=len(WORDS), d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    looks = CLIPVisionConfig(
        hidden_size=8, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=8, patch_size=4
    )
    WanAnimatePipeline(
        tokenizer=PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"),
        text_encoder=UMT5EncoderModel(text).eval(),
        vae=AutoencoderKLWan(base_dim=4, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1).eval(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=5.0),
        image_processor=CLIPImageProcessor(crop_size={"height": 8, "width": 8}, size={"shortest_edge": 8}),
        image_encoder=CLIPVisionModel(looks).eval(),
        transformer=WanAnimateTransformer3DModel(
            num_attention_heads=2, attention_head_dim=12, text_dim=16, freq_dim=16, ffn_dim=32, num_layers=2, image_dim=8,
            rope_max_seq_len=64, motion_encoder_channel_sizes={"4": 8, "8": 8, "16": 8}, motion_encoder_size=FACE_PX,
            motion_style_dim=8, motion_dim=4, motion_encoder_dim=16, face_encoder_hidden_dim=16,
            face_encoder_num_heads=2, inject_face_latents_blocks=2,
        ).eval(),
    ).save_pretrained(folder)  # fmt: skip
    return folder
