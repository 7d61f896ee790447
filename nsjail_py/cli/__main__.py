"""``python -m nsjail_py.cli``."""

from nsjail_py.cli.main import command

command()
