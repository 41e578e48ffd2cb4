"""Expectations of activations over Gaussian inputs: derived where a closed form exists, certified numbers elsewhere."""
