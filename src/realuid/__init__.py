from realuid._version import __version__
