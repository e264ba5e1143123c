"""One reader per raw layout: `read(root, ...)` gives a `gancli.data.sample.Source`. They know no HDF5 and no torch."""
