"""gancli: conditional image synthesis from raw data to scored images, as one command line and one library.

Every subcommand has a library function of the same name that a notebook can call::

    import gancli

    run = gancli.train(gancli.load_recipe("ffgan/demo", ["data=data/demo"]), runs="runs")

`__init__.pyi` lists them. They are imported when first used, so ``import gancli`` loads neither torch nor h5py.
"""

import lazy_loader

from gancli.version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
