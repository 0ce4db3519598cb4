"""Mail goes out through the server that is set, once, and tells what an operator needs to know."""
import json
import re
import socket
import time

import pytest
from servers import free_port, wait_until
from support.mailbox import Mailbox
from support.tls import Authority

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
FROM = "hooks@example.com"
LOGIN = ("post", "hid/den@word")
IN_URL = ("post", "hid%2Fden%40word")
ABOUT = {"subscription_id": "0192d1a4-55e1-7c0b-9d2e-6b8f0a1c2d3e", "name": "Größe – „CRM“", "status": "disabled",
         "webhook_url": "https://example.com/hook?token=secret", "disabled_reason": "the endpoint answered 410 Gone",
         "failing_since": 1760000000000, "last_success_at": None}


@pytest.fixture
def dispatching(database_only):
    """start(url, …) → a dispatcher with that mail server; it has no Kafka, which mail does not need."""
    def start(url, **env):
        return database_only.process("dispatch", SMTP_URL=url, MAIL_FROM=FROM, **env).start(ready=False)
    start.db = database_only.db
    return start


def post(db, recipient="ann@example.org", kind="subscription.disabled", **columns):
    row = {"workspace_id": "w1", "recipient": recipient, "kind": kind, "about": json.dumps(ABOUT), **columns}
    return db.value(f"INSERT INTO mails ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))}) RETURNING id",
                    *row.values())


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize("how", ["plain", "login", "starttls", "smtps"])
def test_a_mail_is_sent(dispatching, authority, how):
    certificate = authority.certificate("IP:127.0.0.1") if how in ("starttls", "smtps") else None
    login = LOGIN if how != "plain" else None
    with Mailbox(certificate, smtps=how == "smtps", login=login) as mailbox:
        number = post(dispatching.db)
        process = dispatching(mailbox.url(IN_URL if login else None), CA_FILE=authority.path)
        mail, = mailbox.wait_for(1)
        dispatching.db.wait("SELECT count(*) = 0 FROM mails")
        assert (mailbox.sessions[0].ssl is not None) == (how == "starttls")
        assert mailbox.envelopes[0].mail_from == FROM and mailbox.envelopes[0].rcpt_tos == ["ann@example.org"]
        assert mail["from"] == FROM and mail["to"] == "ann@example.org"
        assert mail["subject"] == "Your webhook was disabled: Größe – „CRM“"
        assert mail["message-id"].startswith("<hookcast-") and mail["message-id"].endswith(f"-{number}@example.com>")
        assert abs(mail["date"].datetime.timestamp() - time.time()) < 120
        text = mail.get_body().get_content().replace("\r\n", "\n")
        assert "Subscription: Größe – „CRM“ (0192d1a4-55e1-7c0b-9d2e-6b8f0a1c2d3e)\n" in text
        assert "Endpoint: https://example.com/hook\n" in text and "secret" not in text
        assert process.metric("hookcast_mails_total", result="sent") == 1


@pytest.mark.parametrize("lang, subject", [
    (None, "Your webhook log export is ready"),
    ("zh-Hant", "您的 Webhook 傳送記錄匯出檔已可下載"),
    ("zh-CN", "您的 Webhook 投递日志导出文件已可下载"),
    ("ja-JP", "Webhook 配信ログのエクスポートが完了しました"),
    ("fr-FR", "L’export de vos journaux de webhooks est prêt"),
    ("de-DE", "Ihr Export der Webhook-Protokolle ist fertig"),
    ("es", "Su exportación de los registros de webhooks está lista"),
    ("vi-VN", "Bản xuất nhật ký webhook của bạn đã sẵn sàng")])
def test_an_export_is_announced_in_its_language(dispatching, lang, subject):
    job = "0192d1a4-0000-7c0b-9d2e-6b8f0a1c2d3e"
    about = {"job_id": job, "lang": lang, "format": "csv", "rows": 1234567, "size": 34567890,
             "expires_at_ms": 1795887359999, "start": None, "end": "2024-03-31T23:59:59Z"}
    with Mailbox() as mailbox:
        post(dispatching.db, kind="export.ready", about=json.dumps(about))
        post(dispatching.db, kind="export.failed", about=json.dumps({**about, "error": "more than 10 rows"}))
        post(dispatching.db, kind="export.ready", about=json.dumps({**about, "job_id": "none"}))
        process = dispatching(mailbox.url(), PUBLIC_URL="https://hooks.example.com/here/")
        mailbox.wait_for(2)
        process.wait_log("a mail was given up.*there is no link for it")
        texts = {mail["subject"]: mail.get_body().get_content().replace("\r\n", "\n") for mail in mailbox.mails}
        assert len(texts) == 2
        ready, failed = texts.pop(subject), texts.popitem()[1]
        assert re.search(rf"\nhttps://hooks.example.com/here/api/v1/exports/{job}"
                         r"\?expires=1795887359&signature=[0-9a-f]{64}\n", ready)
        for part in ("2026-11-28 17:35 UTC", "1234567\n", "33 MiB\n", "– 2024-03-31 23:59:59 UTC\n"):
            assert part.replace("–", "～" if lang == "ja-JP" else "–") in ready
        assert "more than 10 rows\n" in failed and "signature=" not in failed
        assert "signature=" not in process.log()


def test_a_certificate_that_is_not_right_is_refused(dispatching, authority):
    with Mailbox(authority.certificate("IP:127.0.0.1"), login=LOGIN) as mailbox:
        post(dispatching.db)
        process = dispatching(mailbox.url(IN_URL))
        process.wait_log("mail can't be sent; trying again.*certificate")
        assert not mailbox.mails


def test_a_wrong_password_is_no_mails_fault(dispatching):
    with Mailbox(login=("post", "another")) as mailbox:
        post(dispatching.db)
        process = dispatching(mailbox.url(IN_URL))
        process.wait_log(r"mail can't be sent; trying again.*refuses the login")
        dispatching.db.wait("SELECT attempt = 2 AND due_at > now() + interval '50 seconds' FROM mails")
        assert not mailbox.mails
        assert "hid" not in process.log().replace("hidden", "")


def test_a_server_that_was_away_gets_each_mail_once(dispatching):
    port = free_port()
    numbers = [post(dispatching.db, f"ann{n}@example.org") for n in range(3)]
    process = dispatching(f"smtp://127.0.0.1:{port}")
    process.wait_log("mail can't be sent; trying again")
    dispatching.db.wait("SELECT count(*) > 0 FROM mails WHERE attempt = 2 AND lease_until IS NULL")
    with Mailbox(port=port) as mailbox:
        dispatching.db.execute("UPDATE mails SET due_at = now()")
        mailbox.wait_for(3, deadline_s=40)
        dispatching.db.wait("SELECT count(*) = 0 FROM mails")
        process.wait_log("mail is sent again")
        assert sorted(mail["to"] for mail in mailbox.mails) == [f"ann{n}@example.org" for n in range(3)]
        assert len({mail["message-id"] for mail in mailbox.mails}) == len(numbers)


def test_what_is_refused_for_good_is_given_up(dispatching):
    with Mailbox(answer=lambda envelope: "550 5.1.1 nobody here" if "bob" in envelope.rcpt_tos[0] else None) as mailbox:
        post(dispatching.db, "bob@example.org")
        post(dispatching.db, "not an address")
        post(dispatching.db, kind="subscription.unheard")
        post(dispatching.db)
        process = dispatching(mailbox.url())
        mailbox.wait_for(1)
        dispatching.db.wait("SELECT count(*) = 0 FROM mails")
        process.wait_log("a mail was given up.*550 5.1.1 nobody here")
        process.wait_log("a mail was given up.*no e-mail address")
        process.wait_log("a mail was given up.*no mail of the kind")
        assert process.metric("hookcast_mails_total", result="given_up") == 3
        assert [mail["to"] for mail in mailbox.mails] == ["ann@example.org"]


def test_what_is_put_off_comes_again_and_not_for_ever(dispatching):
    with Mailbox(answer=lambda envelope: "451 later") as mailbox:
        young = post(dispatching.db)
        dispatching.db.execute(
            "INSERT INTO mails (workspace_id, recipient, kind, about, attempt, created_at) "
            "SELECT workspace_id, 'old@example.org', kind, about, 9, now() - interval '23 hours' FROM mails")
        process = dispatching(mailbox.url())
        process.wait_log("a mail was given up.*451 later")
        dispatching.db.wait("SELECT count(*) = 1 AND min(id) = %s AND min(attempt) = 2 FROM mails", young)
        assert not mailbox.mails


def test_two_processes_send_it_once(dispatching):
    with Mailbox() as mailbox:
        for _ in range(2):
            dispatching(mailbox.url())
        for n in range(20):
            post(dispatching.db, f"ann{n}@example.org")
        mailbox.wait_for(20)
        dispatching.db.wait("SELECT count(*) = 0 FROM mails")
        assert len(mailbox.mails) == len({mail["to"] for mail in mailbox.mails}) == 20


def test_without_a_server_mail_is_dropped_after_a_day(dispatching):
    post(dispatching.db, "young@example.org")
    dispatching.db.execute(
        "INSERT INTO mails (workspace_id, recipient, kind, about, created_at) "
        "SELECT workspace_id, 'old@example.org', kind, about, now() - interval '25 hours' FROM mails")
    process = dispatching("")
    process.wait_log("mail that could not be sent for a day was dropped.*mails=1")
    assert [row["recipient"] for row in dispatching.db.rows("SELECT recipient FROM mails")] == ["young@example.org"]


def test_a_stop_does_not_wait_for_a_silent_server(dispatching):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        post(dispatching.db)
        process = dispatching(f"smtp://127.0.0.1:{silent.getsockname()[1]}")
        wait_until(lambda: dispatching.db.value("SELECT lease_until IS NOT NULL FROM mails"), 20, what="the mail is tried")
        began = time.monotonic()
        process.stop()
        assert time.monotonic() - began < 10
        assert dispatching.db.value("SELECT attempt FROM mails") == 1
