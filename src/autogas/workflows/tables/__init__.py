"""The tables of the paper, ours beside its numbers."""
