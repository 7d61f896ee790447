"""What the plugin plans, for recorded machines: no file is read and nothing is mounted."""

from __future__ import annotations

import os
from typing import Any

import pytest

from nsjail_py.linux import constants as c
from nsjail_py.linux.idmap import IdRange
from nsjail_py.plan import steps
from nsjail_py.plan.part import Data, Fill, Slot
from nsjail_py.plan.phases import Phase
from nsjail_py.spec.mnt import (
    Bind,
    Dev,
    Directory,
    File,
    Mask,
    Mnt,
    Mqueue,
    Overlay,
    OverlayRoot,
    Proc,
    Root,
    Symlink,
    Sysfs,
    Tmpfs,
)
from nsjail_py.spec.namespaces import Net, Pid, User, Uts
from nsjail_py.spec.process import Privileges
from nsjail_py_plugins import mnt
from nsjail_py_plugins.mnt import overlay
from tests.plugins.mnt.hosts import NEWER, ROOT, USER, facts, mount, part, shape, spec

INERT = c.MOUNT_ATTR_NOSUID | c.MOUNT_ATTR_NODEV
QUIET = INERT | c.MOUNT_ATTR_NOEXEC
READONLY = INERT | c.MOUNT_ATTR_RDONLY
CLONE = c.OPEN_TREE_CLONE | c.OPEN_TREE_CLOEXEC
MKDIR = c.NSJ_ATTACH_MKDIR


def only(*mounts: Any, **more: Any) -> Mnt:
    """A section that has these mounts and little else."""
    return Mnt(view="empty", mounts=mounts, proc=False, dev=False, tmp=0, masks=(), readonly=(), **more)


@pytest.fixture(autouse=True)
def _no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planning must not look at the machine that it happens on."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("planning reads a file")

    for name in ("open", "stat", "lstat", "readlink", "listdir", "getuid", "geteuid", "getcwd"):
        monkeypatch.setattr(os, name, refuse)


# -- the root -------------------------------------------------------------------------------------------------------


def test_an_empty_view_is_a_tmpfs_that_is_sealed_at_the_end() -> None:
    made = part(ROOT, only(size="1M"))
    assert made.flags == c.CLONE_NEWNS
    assert (made.mounts, made.actions) == ((), ())
    assert shape(made.steps) == [
        ("PROPAGATION", "/", c.MS_PRIVATE, 1),
        ("NEW_FS", "tmpfs", ("mode=755", "size=1048576"), INERT, Fill(steps.ROOT)),
        ("ATTACH", None, steps.ROOT, "/", 0),
        ("PIVOT", steps.ROOT),
        ("SET_ATTR", None, "/", c.MOUNT_ATTR_RDONLY, 0, 0, 0, None),
    ]
    assert [step.phase for step in made.steps] == [Phase.ROOT, Phase.ROOT, Phase.ROOT, Phase.PIVOT, Phase.SEAL]


@pytest.mark.parametrize(("writable", "attributes"), [(False, READONLY), (True, INERT)])
def test_a_root_directory_is_cloned_by_a_privileged_parent(writable: bool, attributes: int) -> None:
    made = part(ROOT, Mnt(root=Root(path="/srv/root", writable=writable), masks=(), readonly=()))
    assert [facts(action) for action in made.actions] == [
        {"slot": steps.ROOT, "source": "/srv/root", "attributes": attributes, "shift": "native", "guarded": True}
        | ({"writable": True} if writable else {})
    ]
    assert [name for name, *_ in shape(made.steps)] == ["PROPAGATION", "ATTACH", "PIVOT"]


def test_a_root_directory_is_cloned_by_an_ordinary_users_child() -> None:
    made = part(USER, Mnt(root=Root(path="/srv/root"), masks=(), readonly=()))
    assert made.actions == ()
    assert shape(made.steps)[1:3] == [
        ("OPEN_TREE", None, "/srv/root", CLONE | c.AT_RECURSIVE, Fill(steps.ROOT)),
        ("SET_ATTR", steps.ROOT, None, READONLY, 0, 0, c.AT_RECURSIVE | c.AT_EMPTY_PATH, None),
    ]


def test_ids_are_not_shifted_without_a_user_namespace() -> None:
    plain = mnt.nsjail_plan(spec(Mnt(root=Root(path="/srv/root"))).replace(user=User(mode="off")), ROOT, "start")
    assert plain is not None
    assert "shift" not in facts(plain.actions[0])


def test_set_user_id_programs_work_where_new_privileges_are_allowed() -> None:
    made = part(ROOT, Mnt(root=Root(path="/srv/root")), privileges=Privileges(no_new_privs=False))
    assert facts(made.actions[0])["attributes"] == c.MOUNT_ATTR_RDONLY | c.MOUNT_ATTR_NODEV


def test_masks_of_what_is_not_mounted_are_left_out() -> None:
    section = only()
    named = Mnt(view="empty", dev=False, tmp=0, masks=("/proc/keys", "/sys/firmware", "/x"), readonly=("/proc/sys",))
    assert shape(part(ROOT, named).steps)[-3:-1] == [("READONLY", ("/proc/sys",)), ("MASK", ("/proc/keys", "/x"), None)]
    with_sysfs = only(Sysfs(target="/sys"), Mask(target="/etc/x"))
    masked = [step for step in shape(part(ROOT, with_sysfs).steps) if step[0] == "MASK"]
    assert masked == [("MASK", ("/etc/x",), None)]
    assert "MASK" not in [step[0] for step in shape(part(ROOT, section).steps)]


@pytest.mark.parametrize(
    ("kernel", "mounts", "covers"),
    [
        ([6, 15], (), Slot("dev:/dev")),
        ([6, 14], (), None),
        ([6, 15], (Tmpfs(target="/dev/more"),), None),
        ([6, 15], (Tmpfs(target="/dev"),), None),
    ],
    ids=["a ready-made /dev", "before Linux 6.15", "more in /dev", "another /dev"],
)
def test_what_masks_cover_with(kernel: list[int], mounts: tuple[Any, ...], covers: Slot | None) -> None:
    host = ROOT.replace(kernel=kernel, capabilities=ROOT.capabilities | 1 << c.CAP_MKNOD)
    section = Mnt(view="empty", tmp=0, mounts=mounts, masks=("/x",), readonly=())
    assert ("MASK", ("/x",), covers) in shape(part(host, section).steps)


# -- overlays -------------------------------------------------------------------------------------------------------

PLACE = Slot("root:layers")


def test_an_overlay_is_merged_by_the_child_in_a_place_over_the_root() -> None:
    made = part(ROOT, Mnt(overlay=OverlayRoot(lower=("/a", "/b"), size="1M"), masks=(), readonly=()))
    assert [facts(action) for action in made.actions] == [
        {"slot": Slot(f"root:{n}"), "source": path, "recursive": False, "attributes": READONLY, "shift": "native"}
        for n, path in enumerate(("/a", "/b"))
    ]
    assert shape(made.steps)[1:-2] == [
        ("NEW_FS", "tmpfs", ("mode=755", "size=1048576"), 0, Fill(PLACE)),
        ("ATTACH", None, PLACE, "/", 0),
        ("ATTACH", PLACE, Slot("root:0"), "/0", MKDIR),
        ("ATTACH", PLACE, Slot("root:1"), "/1", MKDIR),
        ("MKDIR", PLACE, "/upper", 0o755),
        ("MKDIR", PLACE, "/work", 0o755),
        (
            "NEW_FS",
            "overlay",
            ("userxattr", "lowerdir=/../0:/../1", "upperdir=/../upper", "workdir=/../work"),
            INERT,
            Fill(steps.ROOT),
        ),
    ]


def test_an_ordinary_users_child_clones_its_layers_itself() -> None:
    made = part(USER, Mnt(overlay=OverlayRoot(lower=("/a",)), masks=(), readonly=()))
    assert made.actions == ()
    cloned = ("OPEN_TREE", None, "/a", CLONE | c.AT_RECURSIVE, Fill(Slot("root:0")))
    assert shape(made.steps)[3:5] == [cloned, ("ATTACH", PLACE, Slot("root:0"), "/0", MKDIR)]


def test_kept_changes_and_their_work_directory_are_on_one_mount() -> None:
    made = part(ROOT, Mnt(overlay=OverlayRoot(lower=("/a",), upper="/keep/here/up")))
    assert facts(made.actions[1]) == {"upper": "/keep/here/up", "work": "/keep/here/.up.work", "own": True}
    assert facts(made.actions[2]) == {
        "slot": Slot("root:kept"),
        "source": "/keep/here",
        "recursive": False,
        "attributes": INERT,
        "shift": "native",
        "writable": True,
    }
    options = next(step for step in shape(made.steps) if step[:2] == ("NEW_FS", "overlay"))[2]
    assert options[2:] == ("upperdir=/../kept/up", "workdir=/../kept/.up.work")
    assert made.facts["work_directories"] == ("/keep/here/.up.work",)


def test_a_work_directory_of_the_callers_is_not_ours_to_remove() -> None:
    made = part(ROOT, Mnt(overlay=OverlayRoot(lower=("/a",), upper="/keep/up", work="/keep/else/work")))
    assert facts(made.actions[1])["own"] is False
    assert facts(made.actions[2])["source"] == "/keep"
    assert made.facts["work_directories"] == ()


@pytest.mark.parametrize(("count", "many"), [(1, False), (41, False), (42, True), (200, True)])
def test_more_layers_than_fit_one_option_get_one_each(count: int, many: bool) -> None:
    layers = tuple(f"/layer/{number}" for number in range(count))
    made = part(ROOT, Mnt(overlay=OverlayRoot(lower=layers)))
    options = next(step for step in shape(made.steps) if step[:2] == ("NEW_FS", "overlay"))[2]
    lower = [option for option in options if option.startswith("lowerdir")]
    assert len(lower) == (count if many else 1)
    assert all(len(option.partition("=")[2]) < 256 for option in options)
    assert overlay.fits_one_option(count) is not many
    paths = [path for option in lower for path in option.partition("=")[2].split(":")]
    assert len(set(paths)) == count


def test_an_overlay_elsewhere_is_merged_before_and_attached_in_its_turn() -> None:
    made = mount(part(ROOT, only(Overlay(target="/o", lower=("/a",)))), "/o")
    slot = Slot("overlay:/o")
    assert shape(made.prepare)[-1][-1] == Fill(slot)
    assert {step.phase for step in made.prepare} == {Phase.ROOT}
    assert shape(made.attach) == [("ATTACH", steps.ROOT, slot, "/o", MKDIR)]


# -- binds ----------------------------------------------------------------------------------------------------------

DATA = Slot("bind:/data")


def test_a_bind_of_a_privileged_caller() -> None:
    made = mount(part(ROOT, only(Bind(source="/srv", target="/data"))), "/data")
    assert made.named
    assert shape(made.attach) == [("ATTACH", steps.ROOT, DATA, "/data", c.NSJ_ATTACH_MAKE)]
    assert made.prepare == ()
    assert [facts(action) for action in made.actions] == [
        {"slot": DATA, "source": "/srv", "attributes": READONLY, "ids": ((0, 0), (1000, 1000)), "guarded": True}
    ]
    assert made.actions[0].text == "clone /srv (read-only)"
    assert made.attach[0].text == "bind /srv -> /data (read-only)"


def test_a_bind_of_an_ordinary_user() -> None:
    made = mount(part(USER, only(Bind(source="/srv", target="/data", writable=True, recursive=False))), "/data")
    assert made.actions == ()
    assert shape(made.prepare) == [
        ("OPEN_TREE", None, "/srv", CLONE, Fill(DATA)),
        ("SET_ATTR", DATA, None, INERT, 0, 0, c.AT_EMPTY_PATH, None),
    ]


@pytest.mark.parametrize(
    ("fields", "shift"),
    [
        ({}, "none"),
        ({"writable": True}, "owner"),
        ({"writable": True, "idmap": "no"}, "none"),
        ({"idmap": "yes"}, "owner"),
    ],
)
def test_which_binds_have_their_ids_shifted(fields: dict[str, Any], shift: str) -> None:
    made = mount(part(ROOT, only(Bind(source="/srv", target="/data", **fields))), "/data")
    assert facts(made.actions[0]).get("shift", "none") == shift


def test_an_optional_bind_is_optional_at_every_step() -> None:
    bind = Bind(source="/srv", target="/data", optional=True)
    made = mount(part(USER, only(bind)), "/data")
    assert [step.optional for step in (*made.prepare, *made.attach)] == [True, True, True]
    made = mount(part(ROOT, only(bind)), "/data")
    assert facts(made.actions[0])["optional"] is True
    assert made.attach[0].optional


def test_a_sensitive_bind_is_not_guarded() -> None:
    made = mount(part(ROOT, only(Bind(source="/run/x", target="/data", sensitive=True))), "/data")
    assert "guarded" not in facts(made.actions[0])


# -- the other kinds ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (
            Tmpfs(target="/t", size="4k", inodes=9, mode="700", owned=True),
            ("tmpfs", ("mode=700", "size=4096", "nr_inodes=9", "uid=1000", "gid=1000"), INERT),
        ),
        (Tmpfs(target="/t"), ("tmpfs", ("mode=1777", f"size={64 << 20}"), INERT)),
        (Proc(target="/t"), ("proc", (), QUIET)),
        (Mqueue(target="/t"), ("mqueue", (), QUIET)),
        (Sysfs(target="/t"), ("sysfs", (), QUIET | c.MOUNT_ATTR_RDONLY)),
    ],
)
def test_file_systems_of_the_sandbox_itself(kind: Any, expected: tuple[Any, ...]) -> None:
    made = mount(part(ROOT, only(kind)), "/t")
    slot = Slot(f"{expected[0]}:/t")
    assert shape(made.attach) == [("NEW_FS", *expected, Fill(slot)), ("ATTACH", steps.ROOT, slot, "/t", MKDIR)]
    assert (made.prepare, made.actions, made.named) == ((), (), True)


def test_what_belongs_to_root_is_not_given_away() -> None:
    made = mount(part(ROOT, only(Tmpfs(target="/t", owned=True)), user="0:0"), "/t")
    assert shape(made.attach)[0][2] == ("mode=1777", f"size={64 << 20}")
    made = mount(part(ROOT, only(Directory(target="/d", owned=True)), user="0:0"), "/d")
    assert shape(made.attach) == [("MKDIR", steps.ROOT, "/d", 0o755)]


def test_what_is_made_in_the_root_itself() -> None:
    section = only(
        Directory(target="/d", mode="700", owned=True),
        Symlink(target="/l", to="d"),
        File(target="/f", content="é", mode="600"),
    )
    made = part(ROOT, section)
    assert shape(mount(made, "/d").attach) == [
        ("MKDIR", steps.ROOT, "/d", 0o700),
        ("CHOWN", steps.ROOT, "/d", 1000, 1000),
    ]
    assert shape(mount(made, "/l").attach) == [("SYMLINK", steps.ROOT, "/l", "d")]
    assert shape(mount(made, "/f").attach) == [("FILE", steps.ROOT, "/f", Data(b"\xc3\xa9"), 0o600)]


@pytest.mark.parametrize("below", ["root directory", "bind"])
def test_a_file_where_none_can_be_made_is_mounted(below: str) -> None:
    file = File(target="/etc/f", content="text")
    section = (
        Mnt(root=Root(path="/srv"), mounts=(file,))
        if below == "root directory"
        else only(Bind(source="/etc", target="/etc"), file)
    )
    made = mount(part(ROOT, section), "/etc/f")
    place, slot = Slot("file:/etc/f:place"), Slot("file:/etc/f")
    assert shape(made.prepare) == [
        ("NEW_FS", "tmpfs", ("mode=755", "size=4096"), INERT, Fill(place)),
        ("FILE", place, "/file", Data(b"text"), 0o644),
        ("ATTACH", None, place, "/", 0),
        ("OPEN_TREE", place, "file", CLONE, Fill(slot)),
        ("SET_ATTR", slot, None, c.MOUNT_ATTR_RDONLY, 0, 0, c.AT_EMPTY_PATH, None),
    ]
    assert shape(made.attach) == [("ATTACH", steps.ROOT, slot, "/etc/f", c.NSJ_ATTACH_MKFILE)]


def test_procfs_that_may_be_refused_lies_over_the_callers_own() -> None:
    made = mount(part(ROOT, Mnt(proc="try")), "/proc")
    assert [(name, step.optional) for (name, *_), step in zip(shape(made.attach), made.attach, strict=True)] == [
        ("ATTACH", False),
        ("NEW_FS", True),
        ("ATTACH", True),
    ]
    assert shape(made.prepare)[1][3] == QUIET | c.MOUNT_ATTR_RDONLY
    without = mnt.nsjail_plan(spec(Mnt(proc="try")).replace(pid=Pid(mode="off")), ROOT, "start")
    assert without is not None
    assert [name for name, *_ in shape(mount(without, "/proc").attach)] == ["ATTACH"]


# -- /dev -----------------------------------------------------------------------------------------------------------


def test_devices_come_from_the_host_one_by_one() -> None:
    dev = mount(part(ROOT), "/dev")
    nodes = ["full", "null", "random", "tty", "urandom", "zero"]
    assert dev.actions[0].text == f"clone the devices {', '.join(nodes)}"
    assert dev.actions[0].fills == tuple(Slot(f"dev:/dev/{name}") for name in nodes)
    attached = [step[3] for step in shape(dev.attach) if step[0] == "ATTACH"]
    assert attached == ["/dev", *(f"/dev/{name}" for name in nodes), "/dev/pts", "/dev/shm"]
    links = {step[2]: step[3] for step in shape(dev.attach) if step[0] == "SYMLINK"}
    assert links["/dev/ptmx"] == "pts/ptmx"
    assert links["/dev/stdin"] == "/proc/self/fd/0"


def test_an_ordinary_users_child_clones_the_devices() -> None:
    dev = mount(part(USER), "/dev")
    assert dev.actions == ()
    assert shape(dev.prepare)[0] == ("OPEN_TREE", None, "/dev/full", CLONE, Fill(Slot("dev:/dev/full")))
    assert len(dev.prepare) == 6


def test_a_newer_kernel_clones_all_devices_at_once() -> None:
    dev = mount(part(NEWER), "/dev")
    assert [name for name, *_ in shape(dev.attach)] == ["ATTACH", "NEW_FS", "ATTACH", "NEW_FS", "ATTACH"]
    crowded = mount(part(NEWER, Mnt(mounts=(Symlink(target="/dev/console", to="null"),))), "/dev")
    assert len(crowded.attach) > 10
    inside = NEWER.replace(uid_map=(IdRange(0, 100000, 65536),))
    assert len(mount(part(inside), "/dev").attach) > 10
    incapable = NEWER.replace(capabilities=NEWER.capabilities & ~(1 << c.CAP_MKNOD))
    assert len(mount(part(incapable), "/dev").attach) > 10


def test_the_users_own_dev_takes_the_place_of_the_default_one() -> None:
    dev = mount(part(ROOT, Mnt(mounts=(Dev(target="/dev", shm="8k"),))), "/dev")
    assert dev.named
    assert ("NEW_FS", "tmpfs", ("mode=1777", "size=8192")) in [step[:3] for step in shape(dev.attach)]


# -- the host view --------------------------------------------------------------------------------------------------


def test_the_host_view_is_what_the_facts_say() -> None:
    made = part(ROOT)
    targets = {each.target: each.text for each in made.mounts}
    assert targets == {
        "/proc": "procfs",
        "/dev": "own devices",
        "/tmp": f"tmpfs of {64 << 20} bytes",
        "/bin": "link to usr/bin",
        "/lib32": "bind /lib32 -> /lib32 (read-only)",
        "/usr": "bind /usr -> /usr (read-only)",
        "/etc/ld.so.cache": "bind /etc/ld.so.cache -> /etc/ld.so.cache (read-only)",
        "/etc/localtime": "link to /usr/share/zoneinfo/Etc/UTC",
        "/etc/ssl/certs": "bind /etc/ssl/certs -> /etc/ssl/certs (read-only)",
        "/etc/passwd": "generated",
        "/etc/group": "generated",
        "/etc/hosts": "generated",
        "/etc/nsswitch.conf": "generated",
        "/var/tmp": "link to /tmp",
        "/run": f"tmpfs of {64 << 20} bytes",
        "/home/user": f"tmpfs of {64 << 20} bytes",
    }


def test_a_network_brings_the_resolver() -> None:
    assert "/etc/resolv.conf" in {each.target for each in part(ROOT, net=Net(mode="host")).mounts}


def test_accounts_are_generated_for_the_payload() -> None:
    def content(user: str, target: str) -> str:
        [step] = mount(part(ROOT, user=user, uts=Uts(hostname="box")), target).attach
        value = step.args[2]
        assert isinstance(value, Data)
        return value.value.decode()

    nobody = "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    root = "root:x:0:0:root:/root:/bin/sh\n"
    assert content("7:8", "/etc/passwd") == f"{root}user:x:7:8:user:/home/user:/bin/sh\n{nobody}"
    assert content("7:8", "/etc/group") == "root:x:0:\nuser:x:8:\nnogroup:x:65534:\n"
    assert content("0:0", "/etc/passwd") == root + nobody
    assert content("65534:65534", "/etc/group") == "root:x:0:\nnogroup:x:65534:\n"
    assert content("7:8", "/etc/hosts").startswith("127.0.0.1 localhost box\n")


def test_what_the_spec_names_takes_the_place_of_the_view() -> None:
    made = part(ROOT, Mnt(mounts=(Bind(source="/home/me/hosts", target="/etc/hosts"),)))
    assert mount(made, "/etc/hosts").text == "bind /home/me/hosts -> /etc/hosts (read-only)"


# -- the mount namespace itself -------------------------------------------------------------------------------------


def test_without_a_mount_namespace_nothing_is_mounted() -> None:
    made = part(ROOT, Mnt(mode="off"))
    assert (made.flags, made.steps, made.mounts, made.actions) == (0, (), (), ())


def test_a_joined_one_is_joined_last_and_left_as_it_is() -> None:
    made = part(ROOT, Mnt(mode="pid:1"))
    assert shape(made.steps) == [("SETNS", Slot("ns:mnt"), c.CLONE_NEWNS)]
    assert made.mounts == ()


def test_more_programs_in_a_running_sandbox_mount_nothing() -> None:
    assert mnt.nsjail_plan(spec(), ROOT, "exec") is None
