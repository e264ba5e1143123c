"""One file per paper, top to bottom in the paper's order."""
