"""Redaction: what is found, that JSON stays JSON, and that no text makes it slow. The keys here are made up."""

import json
import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.core.redact import RULES, redact, rules_in

HEX, UP, LOW = "0123456789abcdef" * 8, "ABCDEFGHIJKLMNOP" * 8, "a1b2c3d4e5f6g7h8" * 8
BEGIN, END = "-----BEGIN RSA PRIVATE " + "KEY-----", "-----END RSA PRIVATE " + "KEY-----"
PEM_LINES = [BEGIN, *["MIIE" + LOW[:60]] * 3, END]
KEYS = {
    "anthropic": "sk-ant-" + f"api03-{LOW[:40]}",
    "openai": "sk-" + f"proj-{LOW[:40]}",
    "github": "ghp_" + LOW[:36],
    "gitlab": "glpat-" + LOW[:20],
    "aws-key-id": "AKIA" + UP[:16],
    "slack": "xoxb-" + f"1234567890-{LOW[:24]}",
    "google": "AIza" + LOW[:35],
    "google-oauth": "ya29." + LOW[:40],
    "stripe": "sk_" + f"live_{LOW[:24]}",
    "npm": "npm_" + LOW[:36],
    "pypi": "pypi-AgE" + LOW[:60],
    "huggingface": "hf_" + LOW[:34],
    "digitalocean": "dop_" + f"v1_{HEX[:64]}",
    "docker": "dckr_pat_" + LOW[:27],
    "sendgrid": "SG." + f"{LOW[:22]}.{LOW[:43]}",
    "supabase": "sb_secret_" + LOW[:30],
    "vault": "hvs." + LOW[:30],
    "groq": "gsk_" + LOW[:52],
    "telegram": "123456789" + f":AA{LOW[:33]}",
    "age": "AGE-SECRET-" + f"KEY-1{UP[:58]}",
    "jwt": "eyJ" + f"{LOW[:30]}.eyJ{LOW[:30]}.{LOW[:30]}",
    "private-key": "\n".join(PEM_LINES),
}
MORE = [
    ("github", "github_pat_" + LOW[:82]),
    ("openai", "sk-" + LOW[:48]),
    ("stripe", "rk_" + f"test_{LOW[:24]}"),
    ("stripe", "whsec_" + LOW[:32]),
    ("google-oauth", "GOCSPX-" + LOW[:28]),
    ("supabase", "sbp_" + HEX[:40]),
]
BESIDE = {  # a name or address stays
    "aws-secret": ("aws_secret_access_key = ", LOW[:40], "\n[default]"),
    "slack-webhook": ("https://hooks.slack.com/services/", "T" + UP[:8] + "/B" + UP[:8] + "/" + LOW[:24], " done"),
    "azure": ("AccountName=a;AccountKey=", LOW[:86] + "==", ";EndpointSuffix=x"),
    "bearer": ("Authorization: Bearer ", LOW[:32], "\r\n"),
    "basic": ("Authorization: Basic ", "QWxhZGRpbjpvcGVu", "\r\n"),
    "password": ("postgres://ada:", "pa55-w0rd!", "@db.example/shop"),
}
AROUND = ["{}", "the key {} is mine", "\n{}\n", "\t{}\r\n", "a='{}'", 'x="{}"', "\u0085{}\u0085", "é{}é", "\\{}\\"]


def said(text: str) -> str:
    """A text after redaction as a JSON string."""
    found: str = json.loads(redact(orjson.dumps(text)))
    return found


@pytest.mark.parametrize(("name", "key"), [*KEYS.items(), *MORE])
@pytest.mark.parametrize("around", AROUND)
def test_a_key_is_replaced_by_its_type(name: str, key: str, around: str) -> None:
    if around.startswith("\\") and key[0] in "nr":
        return  # behind a backslash these letters may be the end of an escape: left alone, see the next test
    assert said(around.format(key)) == around.format(f"[redacted:{name}]")


def test_a_letter_that_ends_an_escape_begins_no_key() -> None:
    for key in (KEYS["npm"], "rk_" + f"live_{LOW[:24]}"):
        rest = "\n" + key[1:]  # in JSON: backslash, n, and what looks like the rest of a key
        assert said(rest) == rest


@pytest.mark.parametrize("name", BESIDE)
def test_of_a_value_beside_its_name_only_the_value_goes(name: str) -> None:
    before, value, after = BESIDE[name]
    assert said(before + value + after) == f"{before}[redacted:{name}]{after}"


def test_a_key_is_found_in_json_within_json() -> None:
    inner = json.dumps({"env": {"aws_secret_access_key": LOW[:40], "pem": KEYS["private-key"], "k": KEYS["npm"]}})
    text = said(json.dumps({"inner": inner}))
    assert json.loads(json.loads(text)["inner"]) == {
        "env": {
            "aws_secret_access_key": "[redacted:aws-secret]",
            "pem": "[redacted:private-key]",
            "k": "[redacted:npm]",
        }
    }


def test_a_private_key_is_found_with_line_numbers_without_its_end_and_across_crlf() -> None:
    numbered = "\n".join(f"{number:6}\u2192{line}" for number, line in enumerate(PEM_LINES, 1))
    assert said(numbered) == "     1\u2192[redacted:private-key]"
    assert said("\r\n".join(PEM_LINES) + "\r\nok") == "[redacted:private-key]\r\nok"
    assert LOW[:30] not in said("\n".join(PEM_LINES[:3]))


@pytest.mark.parametrize(
    "text",
    [
        "sk-some-long-name-of-a-class-in-a-style-sheet",
        "the bearer authentication-and-authorisation scheme",
        "a risk-ant-hill", "AKIA", "xAKIA" + UP[:16], "AKIA" + UP[:17], "BAIzaar", "https://user@example.org/x:y@z",
        "see https://example.org:8080/@ada", "npm_config_registry", "eyJhbGciOiJIUzI1NiJ9",
        "BEGIN PRIVATE KEY is the header of a PEM file", "https://example.org/a?b=c://d",
    ],
)  # fmt: skip
def test_what_is_no_key_stays(text: str) -> None:
    payload = orjson.dumps(text)
    assert redact(payload) is payload


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.sampled_from([*KEYS.values()]).flatmap(
        lambda key: st.tuples(st.text("\\\n\"é nrtbfu0aA-_/:@.", max_size=4), st.text("\\\n\"é nrt-_", max_size=4)).map(
            lambda pair: pair[0] + key + pair[1]
        )
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


def shape(value: Any) -> Any:
    """Everything but the texts."""
    if isinstance(value, dict):
        return [shape(item) for item in value.values()]
    if isinstance(value, list):
        return [shape(item) for item in value]
    return str if isinstance(value, str) else value


@given(JSON)
def test_redacted_json_is_json_of_the_same_shape_and_stays_as_it_is(value: Any) -> None:
    payload = orjson.dumps(value)
    found = redact(payload)
    assert shape(orjson.loads(found)) == shape(value)
    assert redact(found) == found


PEM = b"-----BEGIN PRIVATE KEY-----"
PARTS = (
    *(PEM, PEM + b"A", PEM + b"\\\\", b"eyJaaaaaaaaa.eyJ", b"eyJaaaaaaaa.eyJaaaaaaaa.", b"-eyJ", b" eyJ", b"\\neyJ"),
    *(b"://a:", b"://a", b"\\", b"\\\\n", b"Bearer a", b"Authorization: Basic ", b"secret_access_key====="),
    *(b"sk-ant-", b"SG.a", b"\xe2\x86\x92", b"1234567890:AA", b"AccountKey=/\\"),
)
PIECES = sorted({*PARTS, *(literal for rule in RULES for literal in rule.literals)})
HEADS = (b"-----BEGIN PRIVATE KEY-----", b"eyJ", b"eyJaaaaaaaa.eyJ", b"://", b"://a:", b"AccountKey=", b"Bearer ")
RUNS = (b"a", b"A0", b"\\", b"\\n", b".", b" ", b"-", b"/", b"=")
HOSTILE = [*((b"", piece) for piece in PIECES), *((head, run) for head in HEADS for run in RUNS)]


def seconds(text: bytes) -> float:
    start = time.thread_time()
    redact(text)
    return time.thread_time() - start


@pytest.mark.parametrize(("head", "piece"), HOSTILE)
def test_work_grows_no_faster_than_the_text(head: bytes, piece: bytes) -> None:
    """32 times the text may take 32 times as long, with room for a busy machine; with a square it would be 1024."""
    small, large = 32 * 1024, 1024 * 1024
    texts = [(head + piece * (size // len(piece) + 1))[:size] for size in (small, large)]
    assert any(seconds(texts[1]) < 150 * max(seconds(texts[0]), 0.0005) for _ in range(5))


def test_rules_for_many_pieces_are_chosen_once() -> None:
    key = b"ghp_" + b"a" * 36
    pieces = b"nothing", b"use " + key, b"plain"
    chosen = rules_in(b"".join(pieces))
    assert {rule.name for rule in chosen} == {"github"}
    assert [redact(piece, chosen) for piece in pieces] == [b"nothing", b"use [redacted:github]", b"plain"]
    assert rules_in(b"nothing at all") == ()
