"""Losses as functions of tensors, each with its equation; they know no network and no configuration."""
