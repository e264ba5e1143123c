"""The way from a source to a dataset folder: plan, worker processes, shards, merging."""
