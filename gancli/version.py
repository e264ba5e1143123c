"""The version of gancli, where no module needs the whole package to know it."""

__version__ = "0.1.0.dev0"
