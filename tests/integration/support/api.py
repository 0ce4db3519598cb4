"""A client of hookcast's REST API."""
import datetime
import json
import urllib.error
import urllib.request

from support.described import described


def moment(text):
    """A time of an answer, for comparing: milliseconds that are 0 are not written."""
    return datetime.datetime.fromisoformat(text)


class Answer:
    """status, headers (names in lower case), text, and json (None when the body is none)."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}
        self.body = body
        self.text = body.decode("utf-8", "replace")
        try:
            self.json = json.loads(body) if body else None
        except ValueError:
            self.json = None

    def __repr__(self):
        return f"<{self.status} {self.text[:500]}>"


class Api:
    def __init__(self, url, key=None, headers=None):
        self.url, self.key, self.headers = url, key, headers or {}

    def with_key(self, key, **headers):
        return Api(self.url, key, headers)

    def request(self, method, path, body=None, headers=None, raw=None, timeout_s=30):
        """body: an object that becomes JSON. raw: bytes that are sent as they are. Any status is an answer, if /openapi.json describes it."""
        description = described(self.url)  # before, as the program may be gone by the time it has answered
        sent = dict(self.headers)
        if self.key:
            sent["X-API-KEY"] = self.key
        data = raw
        if body is not None:
            data = json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        sent.update(headers or {})
        request = urllib.request.Request(self.url + path, data=data, method=method, headers=sent)
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as got:
                answer = Answer(got.status, got.headers.items(), got.read())
        except urllib.error.HTTPError as refused:
            with refused:
                answer = Answer(refused.code, refused.headers.items(), refused.read())
        description.check(method, path, answer)
        return answer

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def post(self, path, body=None, **options):
        return self.request("POST", path, body, **options)

    def put(self, path, body=None, **options):
        return self.request("PUT", path, body, **options)

    def patch(self, path, body=None, **options):
        return self.request("PATCH", path, body, **options)

    def delete(self, path, **options):
        return self.request("DELETE", path, **options)
