"""The host view: the host's programs and libraries, a small ``/etc``, private places to write, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from nsjail_py.plugin import Mount, steps
from nsjail_py.plugin.mounting import Bind, Entry, HostView, Tmpfs
from nsjail_py_plugins.mnt import kinds
from nsjail_py_plugins.mnt.scene import HOME_SIZE, Scene

_NSSWITCH = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\nprotocols: files\n"


def mounts(facts: HostView, scene: Scene) -> Iterator[Mount]:
    """Everything that the view has, without ``/proc``, ``/dev`` and ``/tmp``, which every view has."""
    for entry in facts.programs:
        yield _shown(entry, scene)
    for entry in facts.settings:
        # without a network there is nobody to ask
        if entry.path != "/etc/resolv.conf" or scene.host_net:
            yield _shown(entry, scene)
    yield _generated("/etc/passwd", passwd(scene))
    yield _generated("/etc/group", group(scene))
    yield _generated("/etc/hosts", f"127.0.0.1 localhost {scene.hostname}\n::1 localhost ip6-localhost\n")
    yield _generated("/etc/nsswitch.conf", _NSSWITCH)
    if scene.section.tmp:
        yield Mount(target="/var/tmp", text="link to /tmp", attach=(steps.symlink("/var/tmp", "/tmp"),))
    yield kinds.tmpfs(Tmpfs(target="/run", size=HOME_SIZE, mode="755", owned=True), scene, named=False)
    if scene.home == "/root":
        yield Mount(target="/home", text="directory", attach=(steps.mkdir("/home"),))
    yield kinds.tmpfs(Tmpfs(target=scene.home, size=HOME_SIZE, mode="700", owned=True), scene, named=False)


def _shown(entry: Entry, scene: Scene) -> Mount:
    if entry.link is not None:
        made = steps.symlink(entry.path, entry.link)
        return Mount(target=entry.path, text=f"link to {entry.link}", attach=(made,))
    # optional: the facts are as old as the last change of /etc itself
    source = Bind(source=entry.path, target=entry.path, optional=entry.path.startswith("/etc/"))
    return kinds.bind(source, scene, named=False, guarded=False)


def _generated(path: str, text: str) -> Mount:
    return Mount(target=path, text="generated", attach=(steps.file(path, text.encode()),))


def passwd(scene: Scene) -> str:
    """``/etc/passwd`` (passwd(5)): root, the payload's user, nobody."""
    user = f"user:x:{scene.uid}:{scene.gid}:user:{scene.home}:/bin/sh\n" if scene.uid not in (0, 65534) else ""
    return f"root:x:0:0:root:/root:/bin/sh\n{user}nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"


def group(scene: Scene) -> str:
    """``/etc/group`` (group(5))."""
    user = f"user:x:{scene.gid}:\n" if scene.gid not in (0, 65534) else ""
    return f"root:x:0:\n{user}nogroup:x:65534:\n"
