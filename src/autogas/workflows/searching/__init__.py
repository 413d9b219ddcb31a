"""What a search is made of: its settings, the space inside its budget, its candidates."""
