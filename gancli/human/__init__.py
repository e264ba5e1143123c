"""The page on which people rank models, and the tally of their answers."""
