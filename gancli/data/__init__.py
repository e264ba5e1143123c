"""Data: readers of raw datasets, the dataset folder of HDF5 shards, the batches a training draws from it."""
