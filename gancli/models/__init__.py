"""Networks and objectives of the papers, one file per paper in the paper's order."""
