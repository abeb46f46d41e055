"""Routing: from the model a caller names to the deployments that serve it."""
