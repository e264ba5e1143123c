"""Losses as functions of tensors, each with its equation, independent of networks and configuration."""
