"""One reader per raw layout: `read(root, ...)` gives a `gancli.data.sample.Source`, without HDF5 or torch."""
