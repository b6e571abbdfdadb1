"""How few decimals each layer needs: what rounding it costs, and the plan of fewest bytes that keeps the accuracy."""
