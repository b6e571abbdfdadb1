"""A model as it is shipped: its form, its manifest, its card, and the check where it lands."""
