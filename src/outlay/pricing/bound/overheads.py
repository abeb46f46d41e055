"""Overheads: tokens that a provider writes around what a request says.

OpenAI's for chats are documented (see `tokens`). For everyone else they are generous: chat templates put up
to some 120 tokens in front (gpt-oss' system message), and Anthropic's prompt for tools has up to about 700,
its own typed tools up to about 1,200: https://docs.anthropic.com/en/docs/build-with-claude/tool-use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from outlay.pricing.bound.hosted import is_caller_run


@dataclass(frozen=True, slots=True)
class Overheads:
    """Tokens for the prompt as a whole, for each message, and once where there are tools.

    `tool_indent` is by how much the template indents the JSON of tools; None if it writes it in one line.
    """

    base: int
    per_message: int
    tools: int
    tool_indent: int | None = None


OPENAI: Final = Overheads(base=3, per_message=5, tools=128)
"""3 for the reply; 4 a message (3, but 4 for gpt-3.5-turbo-0301) and 1 should it have a name."""
OTHERS: Final = Overheads(base=256, per_message=16, tools=1_000)

PUBLIC: Final = replace(OTHERS, tool_indent=4)
"""For models with public weights, whose template may be like Llama 3's (`tojson(indent=4)`):

https://huggingface.co/meta-llama/Llama-3.1-8B-Instruct/blob/main/tokenizer_config.json
"""

PER_PART: Final = 8
"""For each part of a content: joined texts may make a few tokens more than each alone."""
PER_IMAGE: Final = 16
PER_FIELD: Final = 64
"""For each further field, such as a response's schema."""
_PER_TOOL: Final = 16
_PER_CLIENT_TOOL: Final = 1_500


def tool_overhead(tool: object) -> int:
    """Give the tokens around one tool: few for a function, many for a type that the provider describes."""
    if not isinstance(tool, Mapping) or tool.get("type", "function") in ("function", "custom"):
        return _PER_TOOL
    return _PER_CLIENT_TOOL if is_caller_run(tool) else _PER_TOOL
