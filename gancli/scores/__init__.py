"""Scores of generated pictures, each with the protocol it was measured by, and the papers' tables."""
