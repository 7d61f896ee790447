"""Id ranges, and the namespaces that hold them."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from nsjail_py.linux import idmap, procfs
from nsjail_py.linux.idmap import IdRange
from tests.unit.linux.children import run_script

RANGES = (IdRange(0, 100_000, 1000), IdRange(1000, 1000))


def test_text_of_a_map_and_back() -> None:
    assert idmap.map_text(RANGES) == b"0 100000 1000\n1000 1000 1\n"
    assert idmap.parse_map(idmap.map_text(RANGES).decode()) == RANGES


@pytest.mark.parametrize(("inside", "outside"), [(0, 100_000), (999, 100_999), (1000, 1000), (1001, None)])
def test_translation(inside: int, outside: int | None) -> None:
    assert idmap.outside(RANGES, inside) == outside


@pytest.mark.root
def test_one_namespace_a_map() -> None:
    children = procfs.children(os.getpid())
    first = idmap.mapping_namespace([IdRange(0, 5000, 10)], [IdRange(0, 6000, 10)])
    assert idmap.mapping_namespace([IdRange(0, 5000, 10)], [IdRange(0, 6000, 10)]) == first
    assert idmap.mapping_namespace([IdRange(0, 5000, 10)], [IdRange(0, 7000, 10)]) != first
    assert procfs.children(os.getpid()) == children


@pytest.mark.root
def test_an_id_mapped_mount() -> None:
    said = run_script(
        """
import errno, os, tempfile
from nsjail_py.linux import constants as c, idmap, mounts, namespaces
namespaces.unshare(c.CLONE_NEWNS)
mounts.mount("none", "/", flags=c.MS_REC | c.MS_PRIVATE)
with tempfile.TemporaryDirectory() as where:
    open(f"{where}/file", "w").close()
    os.chown(f"{where}/file", 3, 4)
    tree = mounts.open_tree(where, c.OPEN_TREE_CLONE)
    mapping = idmap.mapping_namespace([idmap.IdRange(0, 5000, 10)], [idmap.IdRange(0, 6000, 10)])
    try:
        mounts.mount_setattr("", directory=tree, flags=c.AT_EMPTY_PATH, attr_set=c.MOUNT_ATTR_IDMAP,
                             user_namespace=mapping)
    except OSError as error:
        assert error.errno == errno.EINVAL
        print("refused")
    else:
        found = os.stat("file", dir_fd=tree)
        print(found.st_uid, found.st_gid)
"""
    ).strip()
    if said == "refused":
        pytest.skip("the file system of temporary files cannot be id-mapped")
    assert said == "5003 6004"


def test_a_map_that_the_kernel_refuses(inside: Callable[[str], str]) -> None:
    inside(
        """
said = raises(errno.EPERM, idmap.mapping_namespace, [idmap.IdRange(0, 70000)], [idmap.IdRange(0, 0)])
assert said == "[Errno 1] write of uid_map: Operation not permitted", said
raises(errno.EINVAL, idmap.mapping_namespace, [idmap.IdRange(0, 0, 0)], [])
"""
    )
