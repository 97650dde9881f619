"""What the guarded fetcher reaches and what it does not: real HTTP on this machine, and names that a test gives."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import shutil
import socket
import ssl
import subprocess
import zlib
from collections.abc import Coroutine, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.addresses import Guard, Pinned, is_public, literal
from antiphon.fetch import Fetcher, _Unpack
from antiphon.ports import Fetched, FetchError
from websites import Website, answer, dribbling, endless, redirect, silent, website

PUBLIC = "93.184.216.34"  # never connected to here: the tests' own guard would refuse


def run(test: Coroutine[Any, Any, Any]) -> Any:
    """Nothing here may take long: a hang is a failure."""

    async def limited() -> Any:
        async with asyncio.timeout(20):
            return await test

    return asyncio.run(limited())


async def refusal(fetch: Fetcher, url: str, **limits: Any) -> tuple[str, str]:
    with pytest.raises(FetchError) as caught:
        await fetch(url, **limits)
    return caught.value.status, str(caught.value)


def names(**addresses: Iterable[str]) -> Any:
    """A look-up that knows these names (`_` for a dot) and remembers what it was asked."""

    async def look_up(host: str, port: int) -> list[str]:
        look_up.asked.append(host)
        answers = addresses.get(host.replace(".", "_"))
        if answers is None:
            raise FetchError("error", "The name of the host has no address.")
        return list(answers)

    look_up.asked = []  # type: ignore[attr-defined]
    return look_up


async def nobody(host: str, port: int) -> list[str]:
    raise AssertionError(f"{host} was looked up")


# ---------------------------------------------------------------------------------------------------- addresses

NOT_PUBLIC = """0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 169.254.169.254 169.254.170.2
172.16.0.1 172.31.255.255 192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.1 203.0.113.1 224.0.0.1
239.1.1.1 240.0.0.1 255.255.255.255 168.63.129.16 :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::127.0.0.1
64:ff9b::a9fe:a9fe 64:ff9b:1::1 100::1 2001::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:2::1 2001:10::1 2001:20::1
2001:db8::1 2002:7f00:1:: 2002:a9fe:a9fe::1 3fff::1 5f00::1 fc00::1 fd00:ec2::254 fe80::1 fec0::1 ff02::1"""


@pytest.mark.parametrize("address", NOT_PUBLIC.split())
def test_an_address_that_is_not_of_the_public_internet_is_refused(address):
    assert not is_public(ipaddress.ip_address(address))
    host = f"[{address}]" if ":" in address else address
    status, _ = run(refusal(Fetcher(look_up=nobody), f"http://{host}/"))
    assert status == "unsafe"


@pytest.mark.parametrize("address", ["8.8.8.8", PUBLIC, "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"])
def test_an_address_of_the_public_internet_is_not(address):
    assert is_public(ipaddress.ip_address(address))


@given(st.ip_addresses(v=4))
def test_what_is_public_is_global_and_its_wrapped_forms_are_judged_alike(address):
    public = is_public(address)
    assert not public or (address.is_global and not address.is_multicast)
    number = int(address)
    assert is_public(ipaddress.IPv6Address((0xFFFF << 32) | number)) == public
    assert is_public(ipaddress.IPv6Address(f"64:ff9b::{address}")) == public
    assert not is_public(ipaddress.IPv6Address((0x2002 << 112) | number << 80))  # 6to4
    assert not is_public(ipaddress.IPv6Address((0x20010000 << 96) | number ^ 0xFFFFFFFF))  # Teredo


@given(st.ip_addresses(v=6))
def test_what_is_public_of_ipv6_is_global(address):
    assert not is_public(address) or (address.is_global and not address.is_multicast)


@given(st.ip_addresses(v=4))
def test_an_address_in_an_odd_spelling_is_never_taken(address):
    number = int(address)
    first, rest = number >> 24, number & 0xFFFFFF
    odd = [str(number), hex(number), f"0{number:o}", f"{first}.{rest}", f"{hex(first)}.{rest}", f"0{first:o}.1.2.3"]
    for spelling in odd:
        with pytest.raises(FetchError) as caught:
            literal(spelling)
        assert caught.value.status == "unsafe"
    assert literal(str(address)) == address


@pytest.mark.parametrize(
    "url",
    [
        "http://0x7f.1/", "http://2130706433/", "http://0177.0.0.1/", "http://127.1/", "http://0x7f000001/",
        "http://127.0.0.1./", "http://127。0。0。1/", "http://１２７.0.0.1/", "http://[fe80::1%25eth0]/", "http://1.2.3.4.5/",
        "http://user:word@example.com/", "http://user@example.com/", "file:///etc/passwd", "ftp://example.com/",
        "gopher://example.com/", "data:text/html,x", "javascript:alert(1)", "http://8.8.8.8:22/", "http://8.8.8.8:6379/",
        "http://example.com:25/", "//example.com/",
    ],
)  # fmt: skip
def test_a_url_that_is_not_for_strangers_is_unsafe_and_nothing_is_looked_up(url):
    status, _ = run(refusal(Fetcher(look_up=nobody), url))
    assert status == "unsafe"


@pytest.mark.parametrize(
    "url", ["http://", "http:///x", "http://a..b/", "http://ex ample.com/", "http://a.b:80:90/", "http://x:99999/",
            "http://good.com\\@127.0.0.1/", f"http://{'a' * 64}.com/", "http://example.com/" + "a" * 9000],
)  # fmt: skip
def test_what_is_no_url_is_an_error(url):
    status, _ = run(refusal(Fetcher(look_up=nobody), url))
    assert status == "error"


def test_a_name_is_refused_if_any_of_its_addresses_is_not_public():
    look_up = names(mixed_test=[PUBLIC, "10.0.0.5"], inside_test=["fd00::1"], nowhere_test=[])
    assert run(refusal(Fetcher(look_up=look_up), "http://mixed.test/"))[0] == "unsafe"
    assert run(refusal(Fetcher(look_up=look_up), "http://inside.test/"))[0] == "unsafe"
    assert run(refusal(Fetcher(look_up=look_up), "http://nowhere.test/"))[0] == "error"


def test_the_refusal_does_not_tell_which_address_a_name_has():
    _, words = run(refusal(Fetcher(look_up=names(wiki_corp=["10.1.2.3"])), "http://wiki.corp/"))
    assert "10.1.2.3" not in words


def test_the_systems_resolver_is_asked_and_its_loopback_refused():
    assert run(refusal(Fetcher(), "http://localhost/"))[0] == "unsafe"


# ---------------------------------------------------------------------------------------------------- the allowlist


@pytest.mark.parametrize(
    ("entry", "host", "port", "address"),
    [
        ("wiki.corp", "wiki.corp", 80, "10.0.0.1"),
        ("wiki.corp", "WIKI.corp.", 8443, "10.0.0.1"),
        ("wiki.corp:8000", "wiki.corp", 8000, "10.0.0.1"),
        ("*.corp", "a.b.corp", 443, "192.168.0.1"),
        ("*.corp:81", "a.corp", 81, "192.168.0.1"),
        ("10.0.0.0/8", "wiki.corp", 80, "10.200.0.1"),
        ("10.0.0.0/8:8000", "wiki.corp", 8000, "10.200.0.1"),
        ("10.0.0.0/8", "wiki.corp", 80, "::ffff:10.0.0.1"),
        ("127.0.0.1:8000", "127.0.0.1", 8000, "127.0.0.1"),
        ("::1", "::1", 80, "::1"),
        ("[::1]:8000", "::1", 8000, "::1"),
        ("fd00::/8", "wiki.corp", 443, "fd12::1"),
        ("169.254.169.254", "169.254.169.254", 80, "169.254.169.254"),
    ],
)
def test_what_the_allowlist_names_may_be_reached(entry, host, port, address):
    guard = Guard((entry,), look_up=names(wiki_corp=[address], a_b_corp=[address], a_corp=[address]))
    assert [ipaddress.ip_address(one) for one in run(guard.resolve(host, port))] == [ipaddress.ip_address(address)]


@pytest.mark.parametrize(
    ("entry", "host", "port", "address"),
    [
        ("wiki.corp", "wiki.corp", 8000, "10.0.0.1"),
        ("wiki.corp:8000", "wiki.corp", 80, "10.0.0.1"),
        ("wiki.corp", "a_wiki.corp", 80, "10.0.0.1"),
        ("*.corp", "corp", 80, "10.0.0.1"),
        ("*.corp", "a.corp.evil.test", 80, "10.0.0.1"),
        ("10.0.0.0/8", "wiki.corp", 80, "11.0.0.1 127.0.0.1"),
        ("10.0.0.0/8:8000", "wiki.corp", 8001, "10.0.0.1"),
        ("127.0.0.1:8000", "127.0.0.2", 8000, "127.0.0.2"),
        ("0.0.0.0/0", "169.254.169.254", 80, "169.254.169.254"),
        ("169.254.0.0/16", "wiki.corp", 80, "169.254.169.254"),
        ("100.64.0.0/10", "wiki.corp", 80, "100.100.100.200"),
        ("::/0", "::ffff:169.254.169.254", 80, "::ffff:169.254.169.254"),
    ],
)
def test_and_nothing_beside_it(entry, host, port, address):
    found = address.split()
    look_up = names(**dict.fromkeys(("wiki_corp", "a_wiki_corp", "corp", "a_corp_evil_test"), found))
    with pytest.raises(FetchError) as caught:
        run(Guard((entry,), look_up=look_up).resolve(host, port))
    assert caught.value.status == "unsafe"


@pytest.mark.parametrize(
    "entry", ["", "*", "*.*", "http://wiki.corp", "wiki.corp/path", "10.0.0.0/99", "0x7f.1", "a:b"]
)
def test_an_entry_of_the_allowlist_that_means_nothing_is_refused(entry):
    with pytest.raises(ValueError, match="is not a host"):
        Guard((entry,))


# ---------------------------------------------------------------------------------------------------- redirects


async def fetched(site: Website, path: str = "/", **limits: Any) -> Fetched:
    return await Fetcher(site.allow, patience=0.3)(site.url(path), **limits)


def of_one_page(page: Any, path: str = "/", **limits: Any) -> Fetched:
    """What comes of fetching a page of a site with only that."""

    async def go() -> Fetched:
        async with website({path: page}) as site:
            return await fetched(site, path, **limits)

    return run(go())


def fault_of(page: Any, **limits: Any) -> tuple[str, str]:
    with pytest.raises(FetchError) as caught:
        of_one_page(page, **limits)
    return caught.value.status, str(caught.value)


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:9/", "http://169.254.169.254/latest/meta-data/", "http://[::1]/", "http://0x7f.1/",
        "//10.0.0.1/x", "file:///etc/passwd", "http://u:p@127.0.0.1/", "http://localhost/", "ftp://127.0.0.1/",
    ],
)  # fmt: skip
def test_a_redirect_to_what_is_not_for_strangers_is_unsafe(target):
    assert fault_of(redirect(target))[0] == "unsafe"


def test_redirects_are_followed_and_the_last_url_is_told():
    async def go() -> None:
        pages = {
            f"/{n}": redirect(f"/{n + 1}", status)
            for n, status in enumerate(
                ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] * 2
            )
        }
        async with website({**pages, "/10": answer("there", mime_type="Text/Plain; charset=UTF-8")}) as site:
            page = await fetched(site, "/0#part")
            assert (page.url, page.body, page.mime_type) == (site.url("/10"), b"there", "text/plain")
            assert page.charset == "UTF-8"
            site.pages["/10"] = redirect("/11")
            status, words = await refusal(Fetcher(site.allow), site.url("/0"))
            assert status == "error" and "more than 10" in words

    run(go())  # fmt: skip


@pytest.mark.parametrize("target", ["/", "", "/#elsewhere"])
def test_a_circle_of_redirects_is_an_error(target):
    status, words = fault_of(redirect(target or "."))
    assert status == "error" and "circle" in words


@pytest.mark.parametrize("target", ["http://[", "http://a b/", "\x00", "http://\xff\xfe/"])
def test_a_redirect_to_nowhere_is_an_error(target):
    assert fault_of(redirect(target))[0] in ("error", "unsafe")


def test_a_name_that_changes_its_address_between_check_and_connection_cannot():
    """The look-up is asked once, and what it would say the second time does not matter."""

    async def go() -> None:
        async with website({"/": answer("public"), "/again": redirect("/")}) as site:
            turns = [["127.0.0.1"], ["127.0.0.9"], ["127.0.0.9"]]

            async def look_up(host: str, port: int) -> list[str]:
                return turns.pop(0)

            fetch = Fetcher((f"127.0.0.1:{site.port}",), look_up=look_up)
            page = await fetch(site.url("/", "rebind.test"))
            assert page.body == b"public" and len(turns) == 2
            assert f"host: rebind.test:{site.port}" in site.heads[0].lower()
            # A redirect is a new connection: judged anew, and by now the name means something else.
            turns.insert(0, ["127.0.0.1"])
            assert (await refusal(fetch, site.url("/again", "rebind.test")))[0] == "unsafe"
            assert len(site.heads) == 2

    run(go())


def test_no_socket_is_made_for_an_address_that_was_not_judged():
    pinned = Pinned(("127.0.0.1", "::1"))
    for family, address in ((socket.AF_INET, ("127.0.0.2", 80)), (socket.AF_INET6, ("::2", 80, 0, 0))):
        with pytest.raises(OSError, match="never judged"):
            pinned.socket((family, socket.SOCK_STREAM, 0, "", address))
    pinned.socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 80))).close()


# ---------------------------------------------------------------------------------------------------- what is sent


def test_nothing_of_the_servers_own_is_sent(monkeypatch, tmp_path):
    """No cookies, not even those of the redirect before; no netrc, no proxy of the environment."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def go() -> list[str]:
        async with website({"/": redirect("/next", set_cookie="id=7"), "/next": answer("x")}) as site:
            assert (await fetched(site)).body == b"x"
            return site.heads

    first, second = run(go())
    for head in (first, second):
        fields = {line.partition(":")[0].lower() for line in head.splitlines()[1:] if line}
        assert fields == {"host", "user-agent", "accept", "accept-encoding", "connection"}
        assert "user-agent: antiphon/" in head.lower()
    assert second.startswith("GET /next HTTP/1.1")


# ---------------------------------------------------------------------------------------------------- what comes back


@pytest.mark.parametrize(
    ("status", "meant"),
    [
        ("402 Payment Required", "paywall"), ("401 Unauthorized", "error"), ("403 Forbidden", "error"),
        ("404 Not Found", "error"), ("429 Too Many", "error"), ("500 Oh", "error"),
        ("300 Choices", "error"), ("302 Found", "error"),
    ],
)  # fmt: skip
def test_what_a_status_means(status, meant):
    found, words = fault_of(answer("words of the page", status))
    assert found == meant and status[:3] in words and "words of the page" not in words


def test_a_page_that_says_it_is_paid_for_is_behind_a_paywall():
    mark = '<script type="application/ld+json">{"isAccessibleForFree" : "False"}</script>teaser'
    assert fault_of(answer(mark))[0] == "paywall"
    assert of_one_page(answer(mark, mime_type="text/plain")).body


def test_a_body_may_be_as_large_as_the_limit_and_no_larger():
    assert len(of_one_page(answer(b"x" * 1000), largest=1000).body) == 1000
    assert "larger" in fault_of(answer(b"x" * 1001), largest=1000)[1]
    assert "larger" in fault_of(endless(b"x" * 65536), largest=10**6)[1]
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    assert "larger" in fault_of(endless(b"10000\r\n" + b"x" * 65536 + b"\r\n", chunked), largest=10**6)[1]


def bomb(size: int, bits: int) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, bits)
    return b"".join([packer.compress(bytes(size)), packer.flush()])


@pytest.mark.parametrize(("encoding", "bits"), [("gzip", 31), ("x-gzip", 31), ("deflate", 15), ("Deflate", -15)])
def test_the_limit_counts_what_is_unpacked(encoding, bits):
    packed = bomb(50_000_000, bits)
    assert len(packed) < 100_000
    assert "larger" in fault_of(answer(packed, content_encoding=encoding), largest=10**6)[1]
    whole = of_one_page(answer(bomb(10**6, bits), content_encoding=encoding), largest=10**6)
    assert whole.body == bytes(10**6)


def test_a_bomb_inside_a_bomb_is_not_opened():
    twice = gzip.compress(bomb(50_000_000, 31))
    assert of_one_page(answer(twice, content_encoding="gzip")).body[:2] == b"\x1f\x8b"
    assert "not asked for" in fault_of(answer(twice, content_encoding="gzip, gzip"))[1]


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, br"])
def test_an_encoding_that_was_not_asked_for_is_an_error(encoding):
    assert "not asked for" in fault_of(answer(b"??", content_encoding=encoding))[1]


def test_a_packed_page_that_is_broken_or_cut_is_an_error():
    packed = gzip.compress(b"words " * 1000)
    assert "cannot be unpacked" in fault_of(answer(b"no gzip", content_encoding="gzip"))[1]
    assert "broke off" in fault_of(answer(packed[:-20], content_encoding="gzip"))[1]
    assert of_one_page(answer(b"", content_encoding="gzip")).body == b""
    assert of_one_page(answer(packed + b"rubbish", content_encoding="gzip")).body == b"words " * 1000


@given(
    st.lists(st.binary(max_size=200_000).map(lambda seed: seed * 40), min_size=1, max_size=3),
    st.sampled_from(["gzip", "zlib", "raw"]),
    st.integers(1, 100_000),
)
def test_whatever_is_packed_comes_out_as_it_was(parts, form, step):
    if form == "gzip":
        packed, whole = b"".join(map(gzip.compress, parts)), b"".join(parts)
    else:
        packer = zlib.compressobj(wbits=15 if form == "zlib" else -15)
        whole = parts[0]
        packed = packer.compress(whole) + packer.flush()
        if form == "raw" and packed[0] & 15 == 8:
            return  # looks like zlib's header: the one in a hundred that cannot be told
    unpack = _Unpack(gzip=form == "gzip")
    out = [piece for at in range(0, len(packed), step) for piece in unpack.feed(packed[at : at + step])]
    assert b"".join(out) == whole and unpack.whole and max(map(len, out)) <= 65536


def test_a_host_that_says_nothing_is_given_up():
    assert "in time" in fault_of(silent)[1]


def test_a_host_that_stops_in_the_middle_is_given_up():
    async def stops(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbeginning")
        await reader.read()

    assert "in time" in fault_of(stops)[1]


def test_a_host_that_breaks_off_is_an_error():
    assert "broke off" in fault_of(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbeginning")[1]
    assert fault_of(b"")[0] == "error"


def test_a_body_that_comes_byte_by_byte_is_given_up_as_too_slow():
    assert "too slowly" in fault_of(dribbling(b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n"))[1]


def test_a_head_that_comes_byte_by_byte_ends_with_the_time_for_all():
    assert "in time" in fault_of(dribbling(b"HTTP/1.1 200 OK\r\nx: "), seconds=0.5)[1]


def test_all_redirects_share_one_time():
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gone = asyncio.ensure_future(reader.read())
        await asyncio.wait((gone,), timeout=0.15)
        writer.write(redirect(f"/?{len(seen)}"))
        seen.append(1)

    seen: list[int] = []

    async def go() -> tuple[str, str]:
        async with website({"/": slow, **{f"/?{n}": slow for n in range(20)}}) as site:
            return await refusal(Fetcher(site.allow), site.url(), seconds=0.5)

    assert "in time" in run(go())[1] and len(seen) < 5


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n" + b"x-flood: y\r\n" * 100_000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nx-flood: " + b"y" * 10**6 + b"\r\n\r\n",
        b"HTTP/1.1 200 " + b"y" * 10**6 + b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"220 mail.test ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"\x00\xff\x00\xff",
    ],
)
def test_a_flood_of_headers_and_what_is_no_http_is_an_error(head):
    assert fault_of(head)[0] == "error"


def test_an_endless_head_is_an_error():
    assert fault_of(endless(b"x-more: y\r\n" * 1000, b"HTTP/1.1 200 OK\r\n"))[0] == "error"
    assert fault_of(endless(b"HTTP/1.1 100 Continue\r\n\r\n" * 100, b""), seconds=1)[0] == "error"


def test_a_page_without_a_type_is_bytes():
    page = of_one_page(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi")
    assert (page.mime_type, page.charset, page.body) == ("application/octet-stream", None, b"hi")


def test_a_host_that_is_not_there_or_speaks_no_tls_is_an_error():
    async def go() -> None:
        async with website({}) as site:
            fetch = Fetcher(site.allow, patience=0.3)
            assert (await refusal(fetch, site.url().replace("http:", "https:")))[0] == "error"
        assert "cannot be reached" in (await refusal(Fetcher(site.allow), site.url()))[1]

    run(go())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes the certificate, is not installed")
def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path):
    files = ("-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "certificate.pem"))
    kind = ("-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost")
    subprocess.run(["openssl", "req", *kind, *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")

    async def go() -> tuple[str, str]:
        async with website({"/": answer("x")}, context) as site:
            return await refusal(Fetcher(site.allow), site.url().replace("http:", "https:"))

    status, words = run(go())
    assert status == "error" and "certificate" in words


def test_only_so_many_are_fetched_at_once_and_waiting_counts_as_time():
    async def go() -> None:
        async with website({"/": silent, "/quick": answer("x")}) as site:
            fetch = Fetcher(site.allow, at_once=1, patience=5)
            first = asyncio.create_task(refusal(fetch, site.url(), seconds=0.4))
            await site.asked.wait()
            assert "in time" in (await refusal(fetch, site.url("/quick"), seconds=0.1))[1]
            await first
            assert (await fetch(site.url("/quick"))).body == b"x"

    run(go())
