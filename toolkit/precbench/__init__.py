"""Round the weights of a network to N decimals, and measure honestly what that costs and what it gives."""

__version__ = "0.1.0"
