"""What runs a network, and what networks from outside expect of who runs them."""
