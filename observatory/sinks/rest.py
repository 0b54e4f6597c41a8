"""RestDestination: Supabase's API, through its own client. Each table is a request, so a step may be there in part."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx
import trio
from postgrest.exceptions import APIError
from postgrest.types import ReturnMethod
from supabase import AsyncClient, AsyncClientOptions, acreate_client
from supabase.lib.client_options import DEFAULT_HEADERS

from observatory.core.mirror_rows import KEYS
from observatory.core.mirror_verdict import Again, Paused, of_answer, short
from observatory.sinks.destination import About, Failed
from observatory.sinks.postgres import about_of
from observatory.sinks.step import Delete, Step

PATIENCE = 60.0  # seconds for one request, however its answer trickles in
READ_PATIENCE = 30.0
T = TypeVar("T")


class RestDestination:
    """See Destination. One client, for as long as the block of `reaching` lasts."""

    def __init__(self, client: AsyncClient, answers: "Answers", patience: float) -> None:
        self._client = client
        self._answers = answers
        self._patience = patience

    async def look(self, machine_id: str) -> About:
        """See Destination."""
        answer = await self._ask(self._client.rpc("observatory_about", {"machine": machine_id}).execute)
        if not isinstance(answer.data, dict):
            raise Failed(Paused("what answers is no Supabase", "check SUPABASE_URL: https://<project>.supabase.co"))
        return about_of(answer.data, privileged=False)

    async def write(self, step: Step) -> None:
        """See Destination."""
        for delete in step.deletes:
            await self._ask(self._delete(delete))
        for table, rows in step.rows.items():
            if rows:
                request = self._client.table(table).upsert(
                    [*rows.values()], on_conflict=",".join(KEYS[table]), returning=ReturnMethod.minimal
                )
                await self._ask(request.execute)

    def _delete(self, delete: Delete) -> Callable[[], Awaitable[Any]]:
        request = self._client.table(delete.table).delete(returning=ReturnMethod.minimal)
        for name, value in delete.equal.items():
            request = request.eq(name, value)
        if delete.below is not None:
            request = request.lt(*delete.below)
        if delete.above is not None:
            request = request.gt(*delete.above)
        return request.execute

    async def close(self) -> None:
        """See Destination."""

    async def _ask(self, request: Callable[[], Awaitable[T]]) -> T:
        self._answers.clear()
        try:
            with trio.fail_after(self._patience):
                return await request()
        except trio.TooSlowError:
            raise Failed(Again(f"it did not answer for {self._patience:g} seconds", smaller=True)) from None
        except APIError as error:
            status, after = self._answers.status, self._answers.retry_after
            raise Failed(of_answer(status, error.code or "", error.message or "", after)) from error
        except httpx.TimeoutException as error:
            raise Failed(Again(f"it did not answer in time ({type(error).__name__})", smaller=True)) from error
        except httpx.UnsupportedProtocol as error:
            raise Failed(Paused(short(str(error)), "check SUPABASE_URL: https://<project>.supabase.co")) from error
        except httpx.HTTPError as error:
            raise Failed(Again(short(str(error) or type(error).__name__))) from error


class Answers:
    """Status and Retry-After of the last answer: the client's errors have neither."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Nothing was answered yet."""
        self.status, self.retry_after = 0, None

    async def note(self, response: httpx.Response) -> None:
        """An answer came."""
        self.status, self.retry_after = response.status_code, retry_after(response.headers)

    status: int
    retry_after: float | None


def retry_after(headers: httpx.Headers) -> float | None:
    """Seconds that an answer asks to wait; it may say so as a number or as a date."""
    given = headers.get("retry-after", "")
    try:
        return max(0.0, float(given))
    except ValueError:
        pass
    try:
        until, now = parsedate_to_datetime(given), parsedate_to_datetime(headers.get("date", ""))
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError):
        return None


@asynccontextmanager
async def reaching(
    url: str, key: str, jwt: str | None, schema: str, patience: float = PATIENCE
) -> AsyncIterator[RestDestination]:
    """A destination for the block. key: the project's; jwt: who writes, if that is not the key's owner."""
    answers = Answers()
    limits = httpx.Limits(max_connections=4)
    headers = {**DEFAULT_HEADERS, **({} if jwt is None else {"Authorization": f"Bearer {jwt}"})}
    hooks = {"response": [answers.note]}
    async with httpx.AsyncClient(timeout=READ_PATIENCE, limits=limits, event_hooks=hooks) as http:
        options = AsyncClientOptions(
            schema=schema, headers=headers, httpx_client=http, postgrest_client_retry=False, auto_refresh_token=False,
            persist_session=False,
        )  # fmt: skip
        yield RestDestination(await acreate_client(url, key, options), answers, patience)
