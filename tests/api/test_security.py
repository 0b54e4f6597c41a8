"""Who may ask: the same rules as for a WebSocket, for every request by itself."""

import time
from pathlib import Path

import orjson
import pytest
import trio

from observatory.core.handshake import LOOPBACK_NAMES, Policy
from observatory.core.login import mint
from observatory.core.visitors import Proxies, networks_of
from tests.api.asking import asking
from tests.api.stage import ONE, staged
from tests.server.serving import Raw

TOKEN = "k" * 43
JSON = {"Content-Type": "application/json"}


async def refusal(port: int, target: str = "/api/v1/status", method: str = "GET", **headers: str) -> tuple[int, str]:
    """Status and code of an answer."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with asking(port, target, named, method, b"{}" if method == "POST" else b"") as answer:
        body = await answer.body()
        code = orjson.loads(body).get("error", {}).get("code", "") if body.startswith(b"{") else ""
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        return answer.status, code


async def test_a_name_that_is_not_ours_is_refused_whatever_is_asked(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        for target in ("/", "/api/v1/health", "/api/v1/status", "/metrics", "/assets/icon.svg", "/c/any", "/nothing"):
            assert await refusal(on.port, target, Host="evil.example") == (421, "HOST_NOT_ALLOWED"), target
        assert (await refusal(on.port, Host="localhost"))[0] == 200


async def test_a_page_of_another_origin_is_refused_and_one_on_the_list_is_answered(tmp_path: Path) -> None:
    policy = Policy(LOOPBACK_NAMES, frozenset({"http://localhost:5173"}))
    async with staged(tmp_path, policy=policy) as on:
        here = f"http://127.0.0.1:{on.port}"
        assert await refusal(on.port, Origin="http://evil.example") == (403, "ORIGIN_NOT_ALLOWED")
        assert await refusal(on.port, Origin="null") == (403, "ORIGIN_NOT_ALLOWED")
        assert await refusal(on.port, Sec_Fetch_Site="cross-site") == (403, "ORIGIN_NOT_ALLOWED")
        assert (await refusal(on.port, Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate"))[0] == 200
        assert (await refusal(on.port, Origin=here, Sec_Fetch_Site="same-origin"))[0] == 200
        listed = {"Origin": "http://localhost:5173", "Sec-Fetch-Site": "same-site"}
        async with asking(on.port, "/api/v1/status", listed) as answer:
            assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, listed["Origin"])
        asked = {**listed, "Access-Control-Request-Method": "POST"}
        async with asking(on.port, "/api/v1/events", asked, "OPTIONS") as answer:
            assert (answer.status, answer.headers["access-control-allow-methods"]) == (204, "GET, POST")
        foreign = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
        async with asking(on.port, "/api/v1/events", foreign, "OPTIONS") as answer:
            assert answer.status == 403
            assert "access-control-allow-origin" not in answer.headers


async def test_what_changes_something_must_be_json(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        form = "application/x-www-form-urlencoded"
        for kind in ("text/plain", form, "application/jsonp", "text/plain; application/json"):
            told = await refusal(on.port, "/api/v1/forget", "POST", Content_Type=kind)
            assert told == (415, "NOT_JSON"), kind
        told = await refusal(on.port, "/api/v1/forget", "POST", Content_Type="application/json; charset=UTF-8")
        assert told == (422, "INVALID")
        here = f"http://127.0.0.1:{on.port}"
        foreign = {"Origin": "http://evil.example", "Content_Type": "application/json"}
        told = await refusal(on.port, "/api/v1/forget", "POST", **foreign)
        assert told == (403, "ORIGIN_NOT_ALLOWED")
        assert (await refusal(on.port, "/api/v1/forget", "POST", Origin=here, Content_Type="application/json"))[
            0
        ] == 422


async def test_another_user_of_the_machine_is_refused(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        gate = on.manager.gate
        gate.owner_of = lambda theirs, ours: 4711
        assert await refusal(on.port) == (403, "NOT_YOUR_SERVER")


async def test_with_a_token_everything_but_health_and_the_page_asks_for_it(tmp_path: Path) -> None:
    async with staged(tmp_path, token=lambda: TOKEN, headers={"Authorization": f"Bearer {TOKEN}"}) as on:
        for target in ("/api/v1/status", "/metrics", f"/api/v1/conversations/{ONE}", "/api/v1/nothing"):
            assert await refusal(on.port, target) == (401, "UNAUTHORIZED"), target
            assert (await refusal(on.port, target, Authorization=f"Bearer {TOKEN}"))[0] in (200, 404)
        for target in ("/", "/assets/icon.svg", "/search", "/health", "/api/v1/health", "/api/v1/openapi.json"):
            assert (await refusal(on.port, target))[0] == 200, target
        assert (await refusal(on.port, Authorization="Bearer wrong"))[0] == 401
        told = await refusal(on.port, "/api/v1/forget", "POST", Content_Type="application/json")
        assert told == (401, "UNAUTHORIZED")
        assert await refusal(on.port, f"/api/v1/status?token={TOKEN}") == (400, "CREDENTIAL_IN_URL")


async def test_logging_in_gives_a_cookie_that_scripts_and_other_sites_never_have(tmp_path: Path) -> None:
    async with staged(tmp_path, token=lambda: TOKEN) as on:
        async with asking(on.port, "/api/v1/login", JSON, "POST", b'{"token": "wrong"}') as answer:
            assert answer.status == 401
        async with asking(on.port, "/api/v1/login", JSON, "POST", orjson.dumps({"token": TOKEN})) as answer:
            assert answer.status == 200
            cookie = answer.headers["set-cookie"]
        assert "HttpOnly; SameSite=Strict" in cookie
        assert "Secure" not in cookie
        assert (await refusal(on.port, Cookie=cookie.partition(";")[0]))[0] == 200
        async with asking(on.port, "/api/v1/logout", JSON, "POST", b"{}") as answer:
            assert "Max-Age=0" in answer.headers["set-cookie"]
        async with asking(on.port, f"/login/{mint(TOKEN, time.time(), b'n' * 16)}") as answer:
            assert (answer.status, "Set-Cookie" in answer.headers or "set-cookie" in answer.headers) == (200, True)
        assert await refusal(on.port, "/login/again") == (403, "LINK_NOT_VALID")
    async with staged(tmp_path) as on:
        told = await refusal(on.port, "/api/v1/login", "POST", Content_Type="application/json")
        assert told == (400, "INVALID_REQUEST")
        async with asking(on.port, "/api/v1/login", JSON, "POST", b'{"token": "x"}') as answer:
            assert answer.status == 409


async def test_behind_a_proxy_the_cookie_is_for_https_and_the_path_is_its_own(tmp_path: Path) -> None:
    policy = Policy(
        LOOPBACK_NAMES | {"obs.example"},
        frozenset({"https://obs.example"}),
        Proxies(networks_of(["127.0.0.1"])),
        base="/watch",
    )
    async with staged(tmp_path, policy=policy, token=lambda: TOKEN) as on:
        proxied = {"Host": "obs.example", "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9", **JSON}
        async with asking(on.port, "/watch/api/v1/login", proxied, "POST", orjson.dumps({"token": TOKEN})) as answer:
            assert answer.headers["set-cookie"].endswith("; Secure")
        for target in ("/watch/", "/watch", "/"):
            async with asking(on.port, target, {"Host": "obs.example"}) as answer:
                assert answer.status == 200
                assert b'src="/watch/assets/index-' in await answer.body()
        assert (await refusal(on.port, "/watching/api/v1/health", Host="obs.example"))[0] == 401
        raw = Raw(await trio.open_tcp_stream("127.0.0.1", on.port))
        await raw.request("/watch/ws", Host="obs.example", Authorization=f"Bearer {TOKEN}")
        assert (await raw.response())[0] == 101
        await raw.aclose()


@pytest.mark.parametrize(
    "target",
    [
        "/assets/../app.py", "/assets/..%2fapp.py", "/assets/%2e%2e/app.py", "/../../etc/passwd", "//etc/passwd",
        "/assets//etc/passwd", "/api/v1/records/../../../etc/passwd", "/assets/icon.svg%00.txt", "/%ff%fe",
    ],
)  # fmt: skip
async def test_no_path_leads_out_of_what_is_served(tmp_path: Path, target: str) -> None:
    async with staged(tmp_path) as on:
        assert await refusal(on.port, target) == (404, "NOT_FOUND")


async def test_a_method_that_is_not_known_is_told_which_are(tmp_path: Path) -> None:
    async with staged(tmp_path) as on:
        async with asking(on.port, "/api/v1/status", method="DELETE") as answer:
            assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")
        async with asking(on.port, "/api/v1/broadcast") as answer:
            assert (answer.status, answer.headers["allow"]) == (405, "POST")
