"""Everything that happens between a source and a dataset folder."""
