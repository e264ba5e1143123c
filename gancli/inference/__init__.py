"""Joins models, encoders and data to make pictures and figures."""
