"""The workflows: each reads top to bottom like the paper."""
