"""One reader per raw layout: `read(root, ...)` gives a `gancli.data.source.Source`, without HDF5 or torch."""
