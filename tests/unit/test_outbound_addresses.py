"""Which addresses and URLs of customers are let through."""

from __future__ import annotations

import pytest

from control_plane.core.addresses import networks, refusal
from control_plane.outbound.guard import Guard
from control_plane.outbound.settings import LOOPBACK_TOO, OutboundSettings
from schemas.errors import BlazzError, ErrorCode

PUBLIC = (
    "1.1.1.1",
    "93.184.215.14",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:81b::200e",
    "::ffff:1.1.1.1",
    "64:ff9b::1.1.1.1",
)
CLOSED = (
    "0.0.0.0",  # noqa: S104 - an address to refuse
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",  # Alibaba's metadata
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",  # Azure's
    "169.254.169.254",  # everybody's
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",  # Oracle's
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.251",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",  # IPv4-compatible loopback
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",  # IPv4-translated
    "64:ff9b::7f00:1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:7f00:1::",  # Teredo
    "2001:20::1",
    "2001:db8::1",
    "2002:7f00:1::",  # 6to4 of loopback
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",  # AWS's
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_let_through(address: str) -> None:
    assert refusal(address) is None


@pytest.mark.parametrize("address", CLOSED)
def test_an_address_that_is_not_public_is_refused(address: str) -> None:
    assert refusal(address)


def test_only_the_networks_that_were_opened_are_open() -> None:
    opened = networks(["127.0.0.0/8", "fd00::/8"])
    assert refusal("127.0.0.1", opened) is None
    assert refusal("::ffff:127.0.0.1", opened) is None
    assert refusal("fd00:1::1", opened) is None
    assert refusal("10.0.0.1", opened)
    assert refusal("::1", opened)


def test_what_is_no_address_is_an_error() -> None:
    with pytest.raises(ValueError, match="example"):
        refusal("example.com")


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hooks?a=b",
        "https://example.com:8443/",
        "https://example.com:443",
        "https://[2606:4700:4700::1111]/",
        "https://1.1.1.1/",
        "https://bücher.example/",
    ],
)
def test_a_url_of_the_public_web_is_let_through(url: str) -> None:
    assert Guard(OutboundSettings()).check_url(url).scheme == "https"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com/",
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com:6379/",
        "https://",
        "https:///path",
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://example.com:22/",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:169.254.169.254]/",
        "https://[fe80::1%25eth0]/",
        "https://10.0.0.1:8443/",
        "https://example.com/a b",
        "https://example.com/\r\nX: y",
        "https://example.com/" + "a" * 3_000,
    ],
)
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(BlazzError) as refused:
        Guard(OutboundSettings()).check_url(url)
    assert refused.value.code is ErrorCode.URL_NOT_ALLOWED
    assert "secret" not in str(refused.value)


def test_a_machine_of_its_own_may_open_itself() -> None:
    guard = Guard(LOOPBACK_TOO)
    assert guard.check_url("http://127.0.0.1:9000/").port == 9000
    with pytest.raises(BlazzError):
        guard.check_url("http://10.0.0.1:9000/")


def test_a_network_that_is_none_is_a_wrong_setting() -> None:
    with pytest.raises(BlazzError) as refused:
        Guard(OutboundSettings(allow_networks=("127.0.0.1/33",)))
    assert refused.value.code is ErrorCode.CONFIG_INVALID
