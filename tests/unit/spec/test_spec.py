from __future__ import annotations

import copy
import pickle
import subprocess
import sys

import pytest

from nsjail_py.spec.mnt import Bind, Mnt, Root, Tmpfs
from nsjail_py.spec.namespaces import Timens, User, Uts
from nsjail_py.spec.process import Process
from nsjail_py.spec.spec import SandboxSpec
from tests.unit.spec.registry import Quota, Rule


def test_sections_by_name() -> None:
    spec = SandboxSpec(uts=Uts(hostname="web"), quota=Quota(bytes="1M"))
    assert spec.names() == ("uts", "quota")
    assert spec.section("uts", Uts).hostname == "web"
    assert spec.section("quota", Quota).bytes == "1M"
    assert spec.items() == (("uts", Uts(hostname="web")), ("quota", Quota(bytes="1M")))


def test_a_section_that_is_not_given_is_the_types_default_each_time_the_same() -> None:
    assert SandboxSpec().section("uts", Uts) == Uts()
    assert SandboxSpec().section("uts", Uts) is SandboxSpec().section("uts", Uts)


def test_a_section_of_another_type() -> None:
    with pytest.raises(TypeError) as caught:
        SandboxSpec(uts=Uts()).section("uts", User)
    assert str(caught.value) == "section uts is a Uts, not a User"


def test_what_is_not_a_section() -> None:
    with pytest.raises(TypeError) as caught:
        SandboxSpec(uts={"hostname": "x"})  # type: ignore[arg-type]
    assert str(caught.value) == "uts must be a section, not dict"


def test_replace_leaves_the_original() -> None:
    spec = SandboxSpec(uts=Uts(hostname="a"), user=User())
    changed = spec.replace(uts=Uts(hostname="b"), process=Process())
    assert spec.section("uts", Uts).hostname == "a"
    assert changed.section("uts", Uts).hostname == "b"
    assert changed.names() == ("uts", "user", "process")


def test_equality_hash_and_digest_go_by_content() -> None:
    def make(hostname: str, order: bool, offset: float) -> SandboxSpec:
        env = {"A": "1", "B": "2"} if order else {"B": "2", "A": "1"}
        return SandboxSpec(uts=Uts(hostname=hostname), process=Process(env=env), timens=Timens(boottime=offset))

    one, same = make("web", True, 3), make("".join(["w", "eb"]), False, 3.0)
    assert one == same
    assert hash(one) == hash(same)
    assert one.digest() == same.digest()
    for other in (make("wob", True, 3), make("web", True, 3.5), SandboxSpec()):
        assert one != other
        assert one.digest() != other.digest()
    assert one != "a spec"


def test_the_digest_tells_kinds_and_texts_apart() -> None:
    binds = SandboxSpec(mnt=Mnt(mounts=(Bind(target="/a"),)))
    tmpfs = SandboxSpec(mnt=Mnt(mounts=(Tmpfs(target="/a"),)))
    assert binds.digest() != tmpfs.digest()
    assert SandboxSpec(uts=Uts()).digest() != SandboxSpec().digest()


def test_the_digest_is_the_same_in_another_process() -> None:
    script = (
        "from nsjail_py.spec.spec import SandboxSpec; from nsjail_py.spec.process import Process;"
        "print(SandboxSpec(process=Process(env={'b': '1', 'a': '\\udcff'})).digest())"
    )
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout.strip()
    assert found == SandboxSpec(process=Process(env={"a": "\udcff", "b": "1"})).digest()
    assert len(found) == 64


def test_copies_are_the_same_and_pickles_equal() -> None:
    spec = SandboxSpec(mnt=Mnt(mounts=(Bind(source="/a", target="/b"),)))
    assert copy.copy(spec) is spec
    assert copy.deepcopy(spec) is spec
    assert pickle.loads(pickle.dumps(spec)) == spec


def test_repr_shows_what_differs_from_the_default() -> None:
    spec = SandboxSpec(uts=Uts(hostname="web"), mnt=Mnt(mounts=(Bind(source="/a", target="/b"),)))
    expected = "SandboxSpec(uts=Uts(hostname='web'), mnt=Mnt(mounts=(Bind(target='/b', source='/a'),)))"
    assert repr(spec) == expected
    assert repr(SandboxSpec()) == "SandboxSpec()"


class TestOverlay:
    def test_sections_of_either_side_are_kept(self) -> None:
        merged = SandboxSpec(uts=Uts(hostname="a")).overlay(SandboxSpec(user=User(nested=True)))
        assert merged == SandboxSpec(uts=Uts(hostname="a"), user=User(nested=True))

    def test_a_value_that_differs_from_its_default_replaces(self) -> None:
        lower = SandboxSpec(uts=Uts(hostname="a", domainname="lan"))
        assert lower.overlay(SandboxSpec(uts=Uts(hostname="b"))) == SandboxSpec(uts=Uts(hostname="b", domainname="lan"))
        assert lower.overlay(SandboxSpec(uts=Uts(mode="off"))).section("uts", Uts).hostname == "a"

    def test_tables_merge(self) -> None:
        lower = SandboxSpec(process=Process(env={"A": "1", "B": "1"}))
        upper = SandboxSpec(process=Process(env={"B": "2", "C": "2"}))
        assert lower.overlay(upper).section("process", Process).env == {"A": "1", "B": "2", "C": "2"}

    def test_tables_of_records_merge_within(self) -> None:
        lower = SandboxSpec(quota=Quota(named={"x": Rule(pattern="a", weight=3)}))
        upper = SandboxSpec(quota=Quota(named={"x": Rule(pattern="b")}))
        assert lower.overlay(upper).section("quota", Quota).named == {"x": Rule(pattern="b", weight=3)}

    def test_lists_are_appended(self) -> None:
        lower = SandboxSpec(mnt=Mnt(mounts=(Bind(target="/a"),)))
        upper = SandboxSpec(mnt=Mnt(mounts=(Tmpfs(target="/b"),)))
        assert lower.overlay(upper).section("mnt", Mnt).mounts == (Bind(target="/a"), Tmpfs(target="/b"))

    def test_a_default_list_is_replaced(self) -> None:
        merged = SandboxSpec(quota=Quota()).overlay(SandboxSpec(quota=Quota(words=("three",))))
        assert merged.section("quota", Quota).words == ("three",)
        again = merged.overlay(SandboxSpec(quota=Quota(words=("four",))))
        assert again.section("quota", Quota).words == ("three", "four")

    def test_records_merge_and_other_types_replace(self) -> None:
        lower = SandboxSpec(mnt=Mnt(root=Root(path="/a", writable=True)))
        merged = lower.overlay(SandboxSpec(mnt=Mnt(root=Root(path="/b"))))
        assert merged.section("mnt", Mnt).root == Root(path="/b", writable=True)
        assert lower.overlay(SandboxSpec(mnt=Quota(bytes=1))).section("mnt", Quota) == Quota(bytes=1)

    def test_an_empty_spec_changes_nothing(self) -> None:
        spec = SandboxSpec(mnt=Mnt(view="empty"), uts=Uts())
        assert spec.overlay(SandboxSpec()) == spec
        assert SandboxSpec().overlay(spec) == spec
