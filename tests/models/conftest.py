"""Tiny checkpoints with random weights: saved to disk and loaded again offline."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig, PreTrainedTokenizerFast, Qwen3Config

from reflectory.models.engine import Engine
from reflectory.models.loading import load_engine

WORDS = (
    "go to take open close use move clean heat cool look with from in on at a the task goal reflect ; mug plate cabinet drawer shelf fridge"
)
NUMBERS = " ".join(str(n) for n in range(20))


def save(folder: Path, config: object, tokenizer: PreTrainedTokenizerFast, scale: float = 0.3) -> Path:
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, scale)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def sizes(vocabulary: int) -> dict[str, int]:
    return {
        "vocab_size": vocabulary, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
    }  # fmt: skip


def word_tokenizer() -> PreTrainedTokenizerFast:
    """One token per word; the post-processor puts <s> in front. The end token has id 1, and id 2 is a word."""
    vocabulary = {word: index for index, word in enumerate(["<s>", "</s>", *WORDS.split(), *NUMBERS.split(), "<unk>"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with a chat template, as chat checkpoints have."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|end|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator([WORDS] * 5, trainers.BpeTrainer(vocab_size=330, special_tokens=special, initial_alphabet=alphabet))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|end|>")
    fast.chat_template = (
        "{% for m in messages %}{% if m.role == 'tool' %}{{ raise_exception('no tools here') }}{% endif %}"
        "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% if not enable_thinking %}ok:{% endif %}{% endif %}"
    )
    return fast


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders: llama (words, no template), qwen (bytes, chat template), mistral (words, sliding window of 8)."""
    root = tmp_path_factory.mktemp("checkpoints")
    words, chat = word_tokenizer(), byte_tokenizer()
    return {
        "llama": save(root / "llama", LlamaConfig(**sizes(len(words))), words),
        "qwen": save(root / "qwen", Qwen3Config(**sizes(len(chat)), head_dim=8, eos_token_id=chat.eos_token_id), chat),
        "mistral": save(root / "mistral", MistralConfig(**sizes(len(words)), sliding_window=8, head_dim=8), words),
    }


@pytest.fixture(scope="session")
def engines(checkpoints: dict[str, Path]) -> dict[str, Engine]:
    return {name: load_engine(folder) for name, folder in checkpoints.items()}
