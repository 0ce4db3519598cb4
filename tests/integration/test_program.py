"""The program's frame: commands, help, and wrong usage. No server is needed."""
import re

import pytest
from support.process import run

SECRET = {"HOOKCAST_INSECURE_DEV": "1"}


def commands():
    listed = run({}, "--help").stdout.split("Commands:\n")[1].split("\n\n")[0]
    return re.findall(r"^  (\S+)", listed, re.MULTILINE)


def refused(*arguments, env=None):
    """The one line on standard error of a command that was used wrongly."""
    done = run(env or {}, *arguments, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_the_version_is_printed():
    assert re.fullmatch(r"hookcast \d+\.\d+\.\d+\n", run({}, "--version").stdout)


def test_without_a_command_the_overview_goes_to_standard_error():
    done = run({}, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == run({}, "--help").stdout == run({}, "help").stdout == run({}, "-h").stdout


def test_dispatch_is_a_command():
    assert "dispatch" in commands()


def test_every_command_explains_itself_in_100_columns():
    for command in commands():
        page = run({}, command, "--help").stdout
        assert page == run({}, "help", command).stdout == run({}, command, "-h").stdout
        assert page.startswith(f"Usage: hookcast {command} ")
        assert "  --help " in page and "HOOKCAST_LOG_LEVEL" in page
        too_long = [line for line in page.splitlines() if len(line) > 100]
        assert too_long == [], command


@pytest.mark.parametrize("arguments", [("dispach",), ("help", "dispach")])
def test_an_unknown_command_is_answered_with_the_nearest(arguments):
    assert refused(*arguments) == 'hookcast: no command "dispach"; did you mean "dispatch"?\n'


def test_a_command_like_no_other_is_answered_with_where_to_look():
    assert refused("frobnicate") == 'hookcast: no command "frobnicate"; "hookcast --help" lists them\n'


def test_an_unknown_option_is_answered_with_the_nearest():
    assert "--kafka-broker: no such option; did you mean --kafka-brokers?" in refused("dispatch", "--kafka-broker=x")


def test_a_wrong_setting_is_named_as_it_was_given():
    wrong = 'expected a duration from 1s to 30s, got "90"\n'
    assert refused("dispatch", "--timeout", "90", env=SECRET) == f"hookcast dispatch: --timeout: {wrong}"
    assert refused("dispatch", env={**SECRET, "HOOKCAST_TIMEOUT": "90"}) == f"hookcast dispatch: HOOKCAST_TIMEOUT: {wrong}"


def test_a_missing_secret_key_says_how_to_make_one():
    assert "HOOKCAST_SECRET_KEY: expected 32 bytes in base64 (openssl rand -base64 32)" in refused("dispatch")
