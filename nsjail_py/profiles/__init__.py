"""The profiles that come with the package: data only, read by ``nsjail_py.spec.profiles``."""
