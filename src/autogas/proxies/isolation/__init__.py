"""Leave a network as it was, whatever a pass changes."""
