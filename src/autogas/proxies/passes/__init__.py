"""One forward pass of any network: what is given to it, what is seen of it, and which of that are features."""
