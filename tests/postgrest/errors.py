"""Answers that are refusals, as PostgREST words them."""

from collections.abc import Mapping
from typing import Any

import psycopg

STATUSES = {"23503": 409, "23505": 409, "25006": 405, "42883": 404, "42P01": 404, "42P17": 500, "57014": 500}
CLASSES = {"08": 503, "53": 503, "54": 413, "40": 500, "57": 500, "58": 500, "XX": 500}


class Refusal(Exception):
    """An answer that is none of success."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: str | None = None,
        hint: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body: dict[str, Any] = {"code": code, "message": message, "details": details, "hint": hint}
        self.headers = {"Proxy-Status": f"PostgREST; error={code}", **(headers or {})}


def of_key(code: str, message: str) -> Refusal:
    """A key that is not accepted."""
    why = f'Bearer error="invalid_token", error_description="{message}"'
    return Refusal(401, code, message, headers={"WWW-Authenticate": why})


def of_database(error: psycopg.Error, *, anonymous: bool) -> Refusal:
    """What the database refused."""
    state, said = error.sqlstate or "XX000", error.diag
    status = STATUSES.get(state) or CLASSES.get(state[:2], 400)
    headers: dict[str, str] = {}
    if state == "42501":
        status, headers = (401, {"WWW-Authenticate": "Bearer"}) if anonymous else (403, {})
    return Refusal(status, state, said.message_primary or str(error), said.message_detail, said.message_hint, headers)


def not_satisfiable(details: str, headers: Mapping[str, str] | None = None) -> Refusal:
    """A range that is none."""
    return Refusal(416, "PGRST103", "Requested range not satisfiable", details, headers=headers)
