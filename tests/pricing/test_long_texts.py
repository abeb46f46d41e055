"""Long texts are counted as they always were, and without keeping other threads from running."""

from __future__ import annotations

import os
import random
import time
from threading import Event, Thread

import pytest

from outlay.pricing import tokens
from outlay.pricing.tokens import count_ordinary, tokenizer

pytestmark = pytest.mark.once("rules that are the same on every Python")

NAMES = sorted({name for _, name, _ in tokens._VOCABULARIES})
PIECES = [
    "river ",
    "mountain",
    "\n",
    "ß",
    "日本",
    "🐟",
    "1",
    "234",
    "'s",
    "!!",
    "\t",
    "ﷺ",
    "\r\n",
    "e\u0301",
    "  ",
]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<s>", "[INST]", "<bos>"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pieces", [PIECES, [*PIECES, *SPECIAL]], ids=["plain", "with special tokens"])
def test_a_long_text_has_the_tokens_that_the_ordinary_encoder_gives_it(name: str, pieces: list[str]) -> None:
    dice = random.Random(7)
    text = "".join(dice.choices(pieces, k=12_000))
    assert len(text) > tokens._LONG_TEXT
    assert count_ordinary(text, name) == len(tokenizer(name).encode_ordinary(text))


def test_other_threads_run_while_a_long_text_is_counted() -> None:
    dice = random.Random(1)
    words = ("".join(dice.choices("abcdefghijklmnop", k=dice.randint(2, 12))) for _ in range(120_000))
    text = " ".join(words)[:900_000]
    tokenizer("o200k_base")
    steps, is_over = 0, Event()

    def count() -> None:
        count_ordinary(text, "o200k_base")
        is_over.set()

    thread = Thread(target=count)
    thread.start()
    while not is_over.is_set():
        steps += 1
        time.sleep(0)
    thread.join()
    assert steps > 100


def test_a_child_of_a_process_that_counted_counts_too() -> None:
    text = "Rivers of Europe. " * 3_000
    wanted = count_ordinary(text, "o200k_base")
    child = os.fork()
    if child == 0:
        os._exit(0 if count_ordinary(text, "o200k_base") == wanted else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0
