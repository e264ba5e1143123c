"""Photographs, folders and dataset splits with holes, filled by CSF-GAN."""
