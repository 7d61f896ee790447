"""Command lines that are wrong, and help."""

from __future__ import annotations

import pytest

from nsjail_py.cli.main import VERBS
from nsjail_py.plugin.manager import Plugins
from tests.cli.command import Command

SEE_RUN = "hint: usage: nsjail-py run [OPTIONS] [--] COMMAND…\n"
SECTIONS = "cgroupns, ipc, mnt, net, pid, timens, user, uts"
PATH = "an absolute path without .. and NUL characters"
MODES = "on, off, try, path:PATH, pid:PID, fd:FD or name:NAME"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "no verb is given\nhint: nsjail-py run -- COMMAND, or nsjail-py --help\n"),
        ("rum", "unknown verb: rum\nhint: did you mean run?\n"),
        (
            "bottle",
            "unknown verb: bottle\nhint: one of: doctor, exec, gc, plan, plugins, profiles, ps, run, schema\n",
        ),
        (
            "--hostname x run",
            "unknown option: --hostname\nhint: options go behind the verb; nsjail-py --help lists the verbs\n",
        ),
        ("--plugin", "--plugin needs a value: NAME\n"),
        ("run", f"the command is missing\n{SEE_RUN}"),
        ("run --", f"the command is missing\n{SEE_RUN}"),
        ("run --hostnam x true", "unknown option: --hostnam\nhint: did you mean --hostname?\n"),
        ("run --zzz true", "unknown option: --zzz\nhint: nsjail-py run --help lists them\n"),
        ("run -z true", "unknown option: -z\nhint: nsjail-py run --help lists them\n"),
        ("run -tz true", "unknown option: -z\nhint: nsjail-py run --help lists them\n"),
        ("run --hostname", "--hostname needs a value: NAME\n"),
        ("run --tty=yes true", "--tty takes no value\n"),
        ("run --timeout soon true", "--timeout: not a number of seconds: soon\n"),
        ("run --cwd . true", "--cwd: a place in the sandbox is an absolute path, not '.'\n"),
        ("run --rw true", f"$.mnt.root.path: is missing\nhint: give it {PATH}\n"),
        ("plan --trace true", "unknown option: --trace\nhint: nsjail-py plan --help lists them\n"),
        (
            "run --name a/b true",
            "--name: expected at most 64 letters, digits, '_', '.' and '-', and a letter or digit first\n",
        ),
        (
            "run --ns bogus=off true",
            f"--ns: expected NAME=MODE with a name of {SECTIONS}, got 'bogus=off'\n",
        ),
        (
            "run --ns net true",
            f"--ns: expected NAME=MODE with a name of {SECTIONS}, got 'net'\n",
        ),
        ("run --ns uts=maybe true", f"$.uts.mode: expected {MODES}, got 'maybe'\n"),
        (
            "run --hostname -x true",
            "$.uts.hostname: expected a host name of letters, digits, '-' and '.', at most 64 long, got '-x'\n",
        ),
        ("run --spec none.toml true", "none.toml: cannot be read: No such file or directory\n"),
        (
            "run --profile bogus true",
            "profile: no such profile: 'bogus'\nhint: one of: default, trusted, or give the path of a file\n",
        ),
        (
            "run --plugin bogus true",
            "no plugin bogus is installed\n"
            "hint: install the package that provides it into this environment; "
            "nsjail-py plugins lists those there are\n",
        ),
        ("ps extra", "unexpected argument: extra\nhint: usage: nsjail-py ps [OPTIONS]\n"),
        ("profiles a b", "unexpected argument: b\nhint: usage: nsjail-py profiles [NAME|FILE]\n"),
    ],
)
def test_what_is_wrong_is_said_with_a_remedy(command: Command, line: str, said: str) -> None:
    assert command.wrong(*line.split()) == f"nsjail-py: {said}"


def test_every_problem_of_a_spec_has_its_own_message(command: Command) -> None:
    (command.folder / "box.toml").write_text("[uts]\nhost = 'x'\n[mnt]\nview = 'hots'\n[utz]\n")
    assert command.wrong("run", "--spec", "box.toml", "true") == (
        "nsjail-py: $.uts.host: unknown key\n"
        "hint: did you mean hostname?\n"
        "nsjail-py: $.mnt.view: unknown value 'hots'\n"
        "hint: did you mean host?\n"
        "nsjail-py: $.utz: unknown section\n"
        "hint: did you mean uts? (a section of another package needs its plugin to be named)\n"
    )


def test_a_broken_configuration_file_is_named(command: Command) -> None:
    file = command.configure("profil = 'x'\n")
    said = f"nsjail-py: {file}: $.profil: unknown key\nhint: did you mean profile?\n"
    for verb in ("run", "doctor", "schema"):
        assert command.wrong(verb, *(["true"] if verb == "run" else [])) == said


def test_a_plugin_of_the_configuration_file_that_is_not_installed(command: Command) -> None:
    command.configure("plugins = ['bogus']\n")
    assert command.wrong("run", "true").startswith(
        "nsjail-py: no plugin bogus is installed\nhint: install the package "
    )


def test_control_characters_in_messages_are_escaped(command: Command) -> None:
    assert command.wrong("run", "--\x1b[2J", "x").startswith("nsjail-py: unknown option: --\\x1b[2J\n")
    said = command.wrong("run", "--", "\x1b]0;title\x07", status=127)
    assert "\x1b" not in said
    assert "\\x1b]0;title\\x07" in said


class TestHelp:
    def test_it_lists_the_verbs(self, command: Command) -> None:
        done = command("--help")
        assert (done.returncode, done.stderr) == (0, "")
        for verb, about in VERBS.items():
            assert f"  {verb:26}{about}\n" in done.stdout

    @pytest.mark.parametrize("verb", VERBS)
    def test_every_verb_explains_itself(self, command: Command, verb: str) -> None:
        done = command(verb, "--help")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(f"usage: nsjail-py {verb} ")

    @pytest.mark.parametrize("verb", ["run", "plan"])
    def test_every_plugin_has_a_group_of_its_own(self, command: Command, verb: str) -> None:
        groups = command(verb, "--help").stdout.split("\n\n")
        titles = [group.partition(":\n")[0] for group in groups if ":\n" in group]
        plugins = Plugins()
        assert titles == ["options", *(owner for owner, _ in plugins.options())]
        for owner, options in plugins.options():
            group = next(group for group in groups if group.startswith(f"{owner}:\n"))
            assert all(option.flag in group for option in options)

    def test_the_built_in_options_of_the_readme_exist(self, command: Command) -> None:
        shown = command("run", "--help").stdout
        flags = (
            "plugin spec profile rootfs rw overlay bind tmpfs hostname net ns user env env-file cwd timeout name result"
        )
        for flag in ("-i,", "-t,", "--trace", *(f"--{name}" for name in flags.split())):
            assert f" {flag}" in shown, flag

    def test_lines_fit_the_window(self, command: Command) -> None:
        assert max(map(len, command("run", "--help").stdout.splitlines())) <= 100

    def test_help_wins_over_the_rest_of_the_line(self, command: Command) -> None:
        assert command("run", "--hostname", "x", "--help", "--", "false").returncode == 0


def test_version(command: Command) -> None:
    from nsjail_py import __version__

    assert command("--version").stdout == f"nsjail-py {__version__}\n"
