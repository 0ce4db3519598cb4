"""Holds each answer of the API to the API's own description, /openapi.json: its status, its type, its body."""
import functools
import json
import re
import urllib.request

import jsonschema

CHECKED_BYTES = 64 << 10  # a list of thousands of rows would take longer to check than to answer


class Description:
    def __init__(self, document):
        self.resolver = jsonschema.RefResolver.from_schema(document)
        self.operations = []  # as fixed as possible first: /logs/export before /logs/{subscription_id}
        for path in sorted(document["paths"], key=lambda path: path.replace("{", "\x7f")):
            pattern = re.compile("(/notify)?" + re.sub(r"{\w+}", "[^/]+", path.replace(".", "\\.")))
            self.operations += [(method, pattern, operation) for method, operation in document["paths"][path].items()]

    def check(self, method, path, answer):
        """What is asked for in vain, by a method or path that no operation has, is not looked at."""
        for known, pattern, operation in self.operations:
            if known == method.lower() and pattern.fullmatch(path.partition("?")[0]):
                self.check_operation(operation, answer)
                return

    def check_operation(self, operation, answer):
        name, status = operation["operationId"], str(answer.status)
        assert status in operation["responses"], f"{name} answers {answer!r}, which its description does not know"
        content = self.resolve(operation["responses"][status]).get("content")
        if not content:
            assert not answer.body, f"{name} answers {answer!r}, its description none"
            return
        kind = answer.headers["content-type"].partition(";")[0]
        content = {one.partition(";")[0]: value for one, value in content.items()}
        assert kind in content, f"{name} answers {kind}, its description {list(content)}"
        if answer.json is not None and len(answer.body) <= CHECKED_BYTES:
            schema = jsonschema.Draft202012Validator(content[kind].get("schema", True), resolver=self.resolver)
            wrong = jsonschema.exceptions.best_match(schema.iter_errors(answer.json))
            assert not wrong, f"{name} answers {status} other than described: {wrong.json_path}: {wrong.message}"

    def resolve(self, value):
        return self.resolver.resolve(value["$ref"])[1] if "$ref" in value else value


@functools.lru_cache(maxsize=None)
def described(url):
    with urllib.request.urlopen(url + "/openapi.json", timeout=10) as answer:
        return Description(json.load(answer))
