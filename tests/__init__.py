"""Tests, in the shape of gancli/. A package, so that no other installed `tests` package stands before it."""
