"""The OpenAPI document and the metrics: both are of the table, and of the docs."""

import re
import shutil
from pathlib import Path

import orjson
import pytest
import trio

from observatory.api.openapi import document
from observatory.api.routes import ROUTES
from tests.api.listening import listening
from tests.api.stage import staged
from tests.browser import needed
from tests.server.serving import Raw

DOCS = Path(__file__).parents[2] / "docs"


async def test_the_document_has_every_json_route_and_names_the_others(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        answer = await on.http.get("/api/v1/openapi.json", headers={"Accept-Encoding": "identity"})
        told = answer.json()
        assert {(route.path, route.method.lower()) for route in ROUTES if route.named} == {
            (path, method) for path, operations in told["paths"].items() for method in operations
        }
        for route in ROUTES:
            if not route.named:
                assert f"`{route.method} {route.path}`" in told["info"]["description"]
        again = await on.http.get("/api/v1/openapi.json", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status_code == 304
        packed = await on.http.get("/api/v1/openapi.json")
        assert packed.headers["content-encoding"] == "gzip"
        assert packed.json() == told


def test_every_route_is_in_the_docs() -> None:
    page = (DOCS / "api.md").read_text()
    for route in ROUTES:
        if route.path.startswith("/api"):
            assert f"| `{route.method}` | `{route.path.removeprefix('/api/v1')}` |" in page, route.name


def test_references_in_the_document_lead_somewhere() -> None:
    made = orjson.loads(document(ROUTES, "/watch"))
    assert made["servers"] == [{"url": "/watch"}]
    known = {f"#/components/schemas/{name}" for name in made["components"]["schemas"]}
    assert set(re.findall(r'"\$ref":"([^"]+)"', document(ROUTES).decode())) <= known


async def test_metrics_are_what_prometheus_reads_and_all_of_them_are_documented(tmp_path: Path) -> None:
    async with staged(tmp_path) as on, listening(on.port, "system") as client:
        await on.post("/broadcast", {"type": "x", "filter": "system"}, 201)
        await client.next()
        for epoch in (on.monitor.events.position.epoch, "another1"):
            stranger = Raw(await trio.open_tcp_stream("127.0.0.1", on.port))
            await stranger.request("/ws")
            await stranger.response()
            await stranger.message()
            await stranger.ask("subscribe", {"topics": ["system"], "resume": {"epoch": epoch, "seq": 1}})
            await stranger.aclose()
        text = (await on.http.get("/metrics")).text
    assert re.search(r'observatory_clients\{mode="live"\} [1-3].0', text)
    assert 'observatory_resumes_total{reason="",recovered="true"} 1.0' in text
    assert 'observatory_resumes_total{reason="epoch_changed",recovered="false"} 1.0' in text
    assert re.search(r'observatory_events_committed_total\{type="x"\} 1.0', text)
    assert re.search(r'observatory_fanout_seconds_count\{audience="1"\} [1-9]', text)
    names = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    documented = set(re.findall(r"`(observatory_\w+)`", (DOCS / "operations.md").read_text()))
    assert names == documented
    tool = needed("promtool", "prometheus")
    done = await trio.run_process([tool, "check", "metrics"], stdin=text.encode(), capture_stderr=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_dashboard_of_grafana_asks_for_metrics_that_there_are() -> None:
    made = orjson.loads((DOCS / "grafana.json").read_bytes())
    asked = {name for panel in made["panels"] for target in panel["targets"]
             for name in re.findall(r"observatory_\w+", target["expr"])}  # fmt: skip
    documented = set(re.findall(r"`(observatory_\w+)`", (DOCS / "operations.md").read_text()))
    assert len(asked) > 15
    for name in asked:
        assert re.sub(r"_(bucket|sum|count)$", "", name) in documented, name


def test_a_program_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setenv("CI", "")
    with pytest.raises(pytest.skip.Exception, match="install the package nothing"):
        needed("nothing-there", "nothing")
