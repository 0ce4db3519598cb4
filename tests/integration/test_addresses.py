"""Promise 6, a subscriber can't aim us: the address that is dialled is judged, on every attempt."""
import os
import ssl

import pytest
from support import lookups, tls
from support.receiver import Redirect

LITERALS = {
    "2130706433": "loopback", "0x7f.1": "loopback", "017700000001": "loopback", "127.1": "loopback",
    "127.0.0.1": "loopback", "localhost": "loopback", "[::1]": "loopback",
    "[::ffff:127.0.0.1]": "loopback", "[::ffff:7f00:1]": "loopback", "0": "0.0.0.0", "0.0.0.0": "0.0.0.0", "[::]": "",
    "169.254.169.254": "link-local", "[::ffff:169.254.169.254]": "link-local", "10.0.0.1": "private",
    "0xa000001": "private", "172.16.0.1": "private", "192.168.1.1": "private", "100.64.0.1": "", "[fd00::1]": "private",
    "[fe80::1]": "link-local", "[64:ff9b::7f00:1]": "loopback", "[2002:7f00:1::]": "loopback", "224.0.0.1": "multicast",
    "255.255.255.255": "", "name.inside.test": "loopback",
}
# What only some systems can look up: if they can, the address counts.
PERHAPS = ["localhost.", "Name.Inside.TEST", "name.inside.test."]


@pytest.fixture
def closed(installation):
    """An installation that allows no private network."""
    installation.env["HOOKCAST_ALLOW_NETS"] = ""
    installation.kafka.create_topic(installation.topic(), 1)
    return installation


@pytest.mark.parametrize("allowed", ["", "192.0.2.0/24,fd12::/16"], ids=["nothing_allowed", "others_allowed"])
def test_refused_addresses_are_not_dialled_however_they_are_written(closed, receiver, tmp_path, allowed):
    closed.env["HOOKCAST_ALLOW_NETS"] = allowed
    ids = {host: closed.insert_subscription(f"http://{host}:{receiver.port}/x", retry_schedule_ms=[100, 100])
           for host in [*LITERALS, *PERHAPS]}
    process = closed.process("dispatch")
    process.env.update(lookups.environment(tmp_path))
    process.start()
    closed.produce([closed.event(id="one")])
    closed.db.wait_count(len(ids), "delivery_logs", "attempt = 1")
    for host, word in LITERALS.items():
        (row,) = closed.db.logs(subscription_id=ids[host])
        what = (host, row)
        assert row["error_code"] == "address_refused" and row["status_code"] is None, what
        assert row["delivery_status"] == "failed" and row["given_up"] and row["next_attempt_at"] is None, what
        assert row["attempt"] == 1 and word in row["error"] and " is " in row["error"], what
    for host in PERHAPS:
        codes = {row["error_code"] for row in closed.db.logs(subscription_id=ids[host])}
        assert codes <= {"address_refused", "dns"}, host
    refused = [ids[host] for host in LITERALS]
    assert closed.db.count("schedule", "subscription_id = ANY(%s::uuid[])", refused) == 0
    assert receiver.connections == 0
    # The next event meets the same answer: refusals don't make an endpoint look broken.
    closed.produce([closed.event(id="two")])
    closed.db.wait_count(len(refused), "delivery_logs", "event_id = 'two' AND error_code = 'address_refused'")
    assert receiver.connections == 0


def test_what_is_allowed_is_reached_and_nothing_beside_it(closed, receiver):
    closed.env["HOOKCAST_ALLOW_NETS"] = "127.0.0.1/32"
    near = closed.insert_subscription(f"http://127.0.0.2:{receiver.port}/near")
    closed.insert_subscription(receiver.url("/hook"))
    closed.insert_subscription(f"http://[::ffff:127.0.0.1]:{receiver.port}/inside")
    closed.dispatch()
    closed.produce(closed.events(1))
    receiver.wait_for(1, "/hook")
    closed.db.wait_count(3, "delivery_logs")
    assert closed.db.logs(subscription_id=near)[0]["error_code"] == "address_refused"
    assert receiver.requests("/near") == []
    assert receiver.count("/inside") == 1, "an IPv4 network that is allowed is allowed inside IPv6 too"


def test_http_is_refused_unless_it_is_allowed(installation, receiver):
    installation.kafka.create_topic(installation.topic(), 1)
    installation.env["HOOKCAST_ALLOW_HTTP"] = "0"
    urls = [receiver.url("/x"), f"HTTP://127.0.0.1:{receiver.port}/x", f"ftp://127.0.0.1:{receiver.port}/x",
            f"file:///etc/passwd", f"gopher://127.0.0.1:{receiver.port}/x", f"https://u:p@127.0.0.1:{receiver.port}/x",
            "not a url", "https://"]
    for url in urls:
        installation.insert_subscription(url)
    secure = installation.insert_subscription(f"https://127.0.0.1:{receiver.port}/x")
    installation.dispatch()
    installation.produce(installation.events(1))
    installation.db.wait_count(len(urls) + 1, "delivery_logs")
    for url in urls:
        (row,) = installation.db.logs(webhook_url=url)
        assert (row["error_code"], row["given_up"], row["status_code"]) == ("bad_url", True, None), (url, row)
        assert row["error"], url
    (row,) = installation.db.logs(subscription_id=secure)
    assert row["error_code"] == "tls" and not row["given_up"], "https is tried, and this receiver speaks none"
    assert receiver.requests() == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(installation, receiver, make_receiver, status):
    installation.kafka.create_topic(installation.topic(), 1)
    inner = make_receiver()
    receiver.on("/away", Redirect(inner.url("/inner"), status))
    receiver.on("/near", Redirect("/inner", status))
    for path in ("/away", "/near"):
        installation.insert_subscription(receiver.url(path), retry_schedule_ms=[])
    installation.dispatch()
    installation.produce(installation.events(1))
    installation.db.wait_count(2, "delivery_logs", "status_code = %s AND given_up", status)
    assert inner.connections == 0 and receiver.requests("/inner") == []


def test_proxy_and_netrc_of_the_environment_have_no_effect(installation, receiver, make_receiver, tmp_path):
    installation.kafka.create_topic(installation.topic(), 1)
    proxy = make_receiver()
    installation.insert_subscription(receiver.url("/hook"))
    process = installation.process("dispatch")
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        process.env[name] = proxy.url("")
    process.env.update({"no_proxy": "", "NO_PROXY": "", "HOME": str(tmp_path)})
    with open(os.path.join(tmp_path, ".netrc"), "w", encoding="ascii") as netrc:
        netrc.write("machine 127.0.0.1 login someone password secret\ndefault login someone password secret\n")
    process.start()
    installation.produce(installation.events(1))
    (request,) = receiver.wait_for(1, "/hook")
    assert "authorization" not in request.headers and "proxy-authorization" not in request.headers
    assert proxy.connections == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_https_is_spoken_with_those_whose_certificate_holds(installation, tmp_path):
    installation.kafka.create_topic(installation.topic(), 1)
    installation.env["HOOKCAST_ALLOW_HTTP"] = "0"
    (tmp_path / "other").mkdir()
    authority, stranger = tls.Authority(tmp_path), tls.Authority(tmp_path / "other")
    with (tls.TlsReceiver(authority.certificate("IP:127.0.0.1")) as right,
          tls.TlsReceiver(authority.certificate("DNS:elsewhere.test")) as other_name,
          tls.TlsReceiver(authority.certificate("IP:127.0.0.1", days=-1)) as run_out,
          tls.TlsReceiver(stranger.certificate("IP:127.0.0.1")) as unknown,
          tls.TlsReceiver(authority.certificate("IP:127.0.0.1"), newest=ssl.TLSVersion.TLSv1_1) as old):
        wrong = [other_name, run_out, unknown, old]
        ids = [installation.insert_subscription(receiver.url("/x"), retry_schedule_ms=[]) for receiver in wrong]
        installation.insert_subscription(right.url("/right"))
        installation.dispatch(CA_FILE=authority.path)
        installation.produce(installation.events(3))
        installation.db.wait_count(3 * 5, "delivery_logs")
        assert right.paths == ["/right"] * 3
        for number, receiver in zip(ids, wrong):
            assert receiver.paths == []
            for row in installation.db.logs(subscription_id=number):
                assert (row["error_code"], row["status_code"], row["delivery_status"]) == ("tls", None, "failed"), row
                assert row["error"], row
