"""A model that executes in integers: weights on a decimal grid per channel, calibrated activations, QDQ form."""
