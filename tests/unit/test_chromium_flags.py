"""Chromium's command line: one argument a switch, the operator's joined with ours."""

from __future__ import annotations

import msgspec
import pytest

from swarm_node.engines.chromium.flags import (
    DISABLED_FEATURES,
    FLAGS,
    HOST_RULES,
    NO_SANDBOX,
    browser_args,
)
from swarm_node.engines.chromium.settings import ChromiumSettings

SETTINGS = ChromiumSettings()


def value_of(args: list[str], switch: str) -> list[str]:
    (found,) = [arg for arg in args if arg.startswith(f"{switch}=")]
    return found.removeprefix(f"{switch}=").split(",")


def test_every_flag_has_a_reason_and_stands_once() -> None:
    table = [*FLAGS, *DISABLED_FEATURES, *HOST_RULES]
    assert all(flag.why for flag in table)
    texts = [flag.text for flag in table]
    assert len(set(texts)) == len(texts)


def test_no_switch_is_given_twice() -> None:
    extra = ("--host-resolver-rules=MAP a b", "--disable-features=X", "--proxy-bypass-list=c")
    args = browser_args(ChromiumSettings(extra_args=extra), sandboxed=True)
    names = [arg.split("=")[0] for arg in args]
    assert sorted(set(names)) == sorted(names)


def test_the_operators_rules_and_features_are_joined_with_ours() -> None:
    extra = (
        "--host-resolver-rules=MAP web.whatsapp.com 127.0.0.1:4433, EXCLUDE localhost",
        "--disable-features=Mine,Translate",
        "--ignore-certificate-errors-spki-list=abc=",
    )
    args = browser_args(ChromiumSettings(extra_args=extra), sandboxed=True)
    rules = value_of(args, "--host-resolver-rules")
    assert rules[-2:] == ["MAP web.whatsapp.com 127.0.0.1:4433", "EXCLUDE localhost"]
    assert "MAP accounts.google.com ~NOTFOUND" in rules
    features = value_of(args, "--disable-features")
    assert features.count("Translate") == 1
    assert "Mine" in features
    assert args[-1] == "--ignore-certificate-errors-spki-list=abc="


@pytest.mark.parametrize("sandboxed", [True, False])
def test_the_sandbox_is_off_only_when_it_must_be(sandboxed: bool) -> None:
    assert (NO_SANDBOX in browser_args(SETTINGS, sandboxed=sandboxed)) is not sandboxed


def test_what_was_measured_as_harmful_is_not_used() -> None:
    harmful = (
        "--single-process", "--in-process-gpu", "--process-per-site", "--headless",
        "--disable-web-security", "--disable-site-isolation-trials", "--renderer-process-limit",
        "--user-agent", "--enable-automation", "--remote-debugging-port",
    )  # fmt: skip
    args = browser_args(SETTINGS, sandboxed=True)
    assert not [arg for arg in args if arg.startswith(harmful)]
    assert not [value for value in value_of(args, "--js-flags") if "max-old-space" in value]


def test_no_v8_flags_is_no_argument() -> None:
    plain = msgspec.structs.replace(SETTINGS, v8_flags=())
    assert not [arg for arg in browser_args(plain, sandboxed=True) if "--js-flags" in arg]
