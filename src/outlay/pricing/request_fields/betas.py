"""Betas: what the values of Anthropic's header `anthropic-beta` switch on.

The values of the SDK (`anthropic.types.AnthropicBetaParam`), those that Claude Code sends, and those of
https://github.com/BerriAI/litellm/blob/main/litellm/anthropic_beta_headers_config.json. Most only let a field
of the body pass, which has a rule of its own.
"""

from __future__ import annotations

from typing import Final

from outlay.pricing.request_fields.rules import HARMLESS, READ, Refused, Rule, each

HEADER: Final = "anthropic-beta"

BETAS: Final[dict[str, Rule]] = {
    **each(
        "message-batches-2024-09-24 prompt-caching-2024-07-31 pdfs-2024-09-25 token-counting-2024-11-01"
        " max-tokens-3-5-sonnet-2024-07-15 tools-2024-04-04 tools-2024-05-16 claude-code-20250219"
        " oauth-2025-04-20 token-efficient-tools-2025-02-19 token-efficient-tools-2026-03-28"
        " fine-grained-tool-streaming-2025-05-14 interleaved-thinking-2025-05-14"
        " dev-full-thinking-2025-05-14 redact-thinking-2026-02-12 thinking-token-count-2026-05-13"
        " thinking-display-updates-2026-08-18 thinking-binding-controls-2026-08-01"
        " model-context-window-exceeded-2025-08-26 cache-diagnosis-2026-04-07"
        " prompt-caching-scope-2026-01-05 effort-2025-11-24 structured-outputs-2025-11-13"
        " structured-outputs-2025-12-15 tool-examples-2025-10-29 per-turn-control-2026-07-01"
        " mid-conversation-output-config-2026-07-01 mid-conversation-system-clear-at-2026-08-21"
        " dangerous-tool-use-2026-09-03 task-budgets-2026-03-13 summarize-connector-text-2026-03-13"
        " afk-mode-2026-01-31",
        HARMLESS,
    ),
    **each(
        "fast-mode-2026-02-01 extended-cache-ttl-2025-04-11 context-management-2025-06-27"
        " files-api-2025-04-14 computer-use-2024-10-22 computer-use-2025-01-24 computer-use-2025-11-24"
        " web-search-2025-03-05 web-fetch-2025-09-10 web-fetch-2026-02-09 code-execution-2025-05-22"
        " code-execution-2025-08-25 code-execution-web-tools-2026-02-09 advanced-tool-use-2025-11-20"
        " tool-search-tool-2025-10-19 mcp-client-2025-04-04 mcp-client-2025-11-20 mcp-client-2026-09-15"
        " mcp-servers-2025-12-04 mcp-tunnels-2026-06-22 skills-2025-10-02 advisor-tool-2026-03-01"
        " compact-2026-01-12 compact-2026-09-04 server-side-fallback-2026-06-01"
        " server-side-fallback-2026-07-01 fallback-credit-2026-06-01 fallback-credit-2026-07-01"
        " mid-conversation-tool-changes-2026-07-01 inline-tools-2026-09-15 message-threads-2026-08-12"
        " user-profiles-2026-03-24 user-profiles-2026-08-18 user-profiles-2026-09-04"
        " user-profiles-billing-2026-10-01 output-128k-2025-02-19 output-300k-2026-03-24"
        " context-1m-2025-08-07",
        READ,
    ),
    **each(
        "agent-memory-2026-07-22 experimental-claude-tag-2026-10-21", Refused("the provider runs it unseen")
    ),
    **each(
        "managed-agents-2026-04-01 dreaming-2026-04-21 ce-plugins-2026-09-01 spend-limit-reads-2026-09-26"
        " telemetry-destinations-2026-08-11 webhooks-2026-10-07 admin-user-sign-out-2026-10-08"
        " analytics-usage-cost-2026-08-24 ce-user-management-2026-07-13"
        " ce-claude-code-managed-settings-2026-10-06",
        HARMLESS,
    ),
}
"""`READ`: bounded by the rule of the field or the tool that it lets pass, by the cap, or by `WINDOWS`."""

WINDOWS: Final = {"context-1m-2025-08-07": 1_000_000}
"""Betas that widen the context window: https://platform.claude.com/docs/en/build-with-claude/context-windows"""


def beta_names(value: str) -> list[str]:
    """The values of a header, or of several in one."""
    return [name for part in value.split(",") if (name := part.strip())]


def window_of(value: str | None) -> int | None:
    """The context window that a header asks for, if it asks for one."""
    if not value:
        return None
    return max((WINDOWS[name] for name in beta_names(value) if name in WINDOWS), default=None)
