"""ETag and If-Match: nobody overwrites a change that they have not seen."""
import threading

import pytest

BODY = {"webhook_url": "https://example.com/", "event_types": ["*"], "created_by": "u", "is_enabled": True}
ALL = "/api/v1/workspaces/w1/subscription"


@pytest.fixture
def api(database_only):
    return database_only.api


@pytest.fixture
def one(api):
    return ALL + "/" + api.post(ALL, BODY).json["id"]


def tag(api, path):
    return api.get(path).headers["etag"]


def test_every_answer_of_one_subscription_has_its_tag(api):
    made = api.post(ALL, BODY)
    path = ALL + "/" + made.json["id"]
    assert made.headers["etag"] == tag(api, path) == tag(api, path) and made.headers["etag"].startswith('"')
    changed = api.patch(path, {"updated_by": "u", "name": "n"})
    assert changed.headers["etag"] == tag(api, path) != made.headers["etag"]
    assert tag(api, path + "/secret") == changed.headers["etag"]
    rotated = api.post(path + "/secret/rotate")
    assert rotated.status == 200 and rotated.headers["etag"] != changed.headers["etag"], "a secret is part of it"
    assert rotated.headers["etag"] == tag(api, path + "/secret") == tag(api, path)


def test_a_rotations_tag_is_good_for_the_next_change(api, one):
    for _ in range(2):
        rotated = api.post(one + "/secret/rotate", headers={"If-Match": tag(api, one + "/secret")})
        assert rotated.status == 200
    assert api.patch(one, {"updated_by": "u", "name": "n"}, headers={"If-Match": rotated.headers["etag"]}).status == 200


def test_another_version_is_neither_changed_nor_deleted(api, one):
    first = tag(api, one)
    assert api.patch(one, {"updated_by": "u", "name": "second"}, headers={"If-Match": first}).status == 200
    for wanted in (first, f"W/{tag(api, one)}", '""', "nonsense", "", f'{first}, "999"', tag(api, one).strip('"')):
        for method, path, body in (("PATCH", one, {"updated_by": "u", "name": "third"}), ("DELETE", one, None),
                                   ("POST", one + "/secret/rotate", None)):
            answer = api.request(method, path, body, headers={"If-Match": wanted})
            assert (answer.status, answer.json["code"]) == (412, "precondition_failed"), (wanted, answer)
            assert answer.headers["content-type"] == "application/problem+json" and answer.json["title"] == "Precondition Failed"
            assert tag(api, one) in answer.json["detail"]
    assert api.get(one).json["name"] == "second"


def test_the_same_version_is(api, one):
    for wanted in ("{}", "*", '"999", {}', '"999" ,\t{} , "1000"'):
        header = wanted.format(tag(api, one))
        answer = api.patch(one, {"updated_by": "u", "name": str(len(header))}, headers={"If-Match": header})
        assert answer.status == 200 and answer.json["name"] == str(len(header)), answer
    assert api.delete(one, headers={"If-Match": tag(api, one)}).status == 204
    assert api.delete(one, headers={"If-Match": "*"}).status == 404


def test_wrong_fields_are_told_of_after_the_tag(api, one):
    first = tag(api, one)
    api.patch(one, {"updated_by": "u", "name": "n"})
    assert api.patch(one, {"updated_by": "u", "nmae": "n"}, headers={"If-Match": first}).status == 412
    assert api.patch(one, {"updated_by": "u", "nmae": "n"}, headers={"If-Match": tag(api, one)}).status == 422


def test_of_many_that_saw_the_same_one_wins(api, one):
    first, answers = tag(api, one), []

    def change(number):
        body = {"updated_by": "u", "name": f"n{number}"}
        answers.append(api.patch(one, body, headers={"If-Match": first}).status)
    threads = [threading.Thread(target=change, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] + [412] * 11
