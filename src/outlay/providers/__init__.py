"""Who serves a model, and the wires they speak."""
