"""Trained models: their folders, their settings, and how they draw or fill images."""
