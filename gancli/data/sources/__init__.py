"""Readers of raw layouts. Each has `read(root, ...) -> gancli.data.source.Source` and needs neither HDF5 nor torch."""
