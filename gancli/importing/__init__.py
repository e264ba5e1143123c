"""Import of the files of public codes to encoder and model folders.

One module holds one public code: the names of its tensors, and the function that writes the folder. `reading` opens a
file without running any of it, `naming` moves tensors from one set of names to the other, `origin` records where they
came from.
"""
