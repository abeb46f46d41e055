"""The gateway: one OpenAI-compatible endpoint in front of many providers, with budgets that hold."""
