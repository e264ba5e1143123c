"""Joins models, encoders and data to make images and figures."""
