"""The management API: keys, users, teams and customers over HTTP, in LiteLLM's shapes."""
