"""The stand-in answers as a real PostgREST did: 59 recorded cases, all of them."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml

from tests.postgres import Cluster
from tests.postgrest.server import StandIn, standing_in

HERE = Path(__file__).parent
CASES = [yaml.safe_load(path.read_text()) for path in sorted((HERE / "cases").glob("*.yaml"))]
EXPECTED = {"status", "headers", "headers_absent", "body_exact", "body_jsonpath"}
SECRET = "reallyreallyreallyreallyverysafe"


@pytest.fixture(scope="module")
def servers(postgres: Cluster) -> Iterator[dict[str, StandIn]]:
    """One as the connecting user, one with keys; what a request writes is undone."""
    name = postgres.create()
    with psycopg.connect(postgres.url(name), autocommit=True) as db:
        db.execute((HERE / "fixture.sql").read_text())
    with ExitStack() as stack:
        bulk = stack.enter_context(standing_in(postgres.url(name), "test", undo=True))
        auth = stack.enter_context(
            standing_in(postgres.url(name), "test", undo=True, secret=SECRET, anonymous="postgrest_test_anonymous")
        )
        yield {"bulk": bulk, "auth": auth}
    postgres.drop(name)


def test_there_are_59_cases() -> None:
    assert len(CASES) == 59
    assert len({case["id"] for case in CASES}) == 59


@pytest.mark.parametrize("case", CASES, ids=[f"{case['id']}-{case['feature']}" for case in CASES])
def test_it_answers_as_postgrest_did(servers: dict[str, StandIn], case: dict[str, Any]) -> None:
    server = servers["auth" if case.get("schema") == "auth" else "bulk"]
    with httpx.Client(base_url=server.url, headers={"Accept-Encoding": "identity"}) as http:
        answer = asked(http, case)
    expected = case["expect"]
    assert expected.keys() <= EXPECTED
    assert answer.status_code == expected["status"], answer.text
    for name, value in expected.get("headers", {}).items():
        assert answer.headers.get(name) == str(value), name
    assert not [name for name in expected.get("headers_absent", []) if name in answer.headers]
    if "body_exact" in expected:
        wanted = expected["body_exact"]
        assert (answer.text if wanted in ("", None) else answer.json()) == ("" if wanted is None else wanted)
    for check in expected.get("body_jsonpath", []):
        found = re.fullmatch(r"\$\.(\w+)", check["path"])
        assert found is not None
        assert answer.json().get(found[1]) == check["equals"]


def asked(http: httpx.Client, case: dict[str, Any]) -> httpx.Response:
    """The case's request."""
    request = case["request"]
    headers = dict(request.get("headers", {}))
    if case.get("schema") not in (None, "public", "test"):
        headers.setdefault("Accept-Profile", case["schema"])
    body: str | None = None
    if "body_raw" in request:
        body = request["body_raw"]
    elif "body_json" in request or "body" in request:
        given = request.get("body_json", request.get("body"))
        body = given if isinstance(given, str) and "body_json" not in request else json.dumps(given)
    path = re.sub(r'[ "<>{}|\\^`]', lambda match: f"%{ord(match[0]):02X}", request["path"])
    return http.request(request["method"], path, headers=headers, content=body)
