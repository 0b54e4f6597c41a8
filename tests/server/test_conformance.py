"""The Autobahn test suite (kosoku runs its cases) against an echo on the product's own wire."""

import asyncio

import kosoku
import trio
from kosoku._kosoku import CaseResult

from tests.server.echoing import echoing

COMPRESSION = ["12.*", "13.*"]  # permessage-deflate is never negotiated
CASES = 301
SECONDS = 120  # it takes 12
PASSED = {"OK", "NON-STRICT", "INFORMATIONAL"}
CLOSED_WELL = {"OK", "INFORMATIONAL"}


def run_cases(url: str) -> list[CaseResult]:
    """What became of each case, or of those that failed; kosoku needs an event loop of asyncio."""

    async def run() -> list[CaseResult]:
        try:
            return list(await kosoku.run_fuzzingclient(url, exclude_cases=COMPRESSION))
        except kosoku.FailureError as failure:
            return list(failure.results or [])

    return asyncio.run(run())


async def test_no_case_of_the_autobahn_suite_fails() -> None:
    async with echoing() as port:
        with trio.fail_after(SECONDS):
            results = await trio.to_thread.run_sync(run_cases, f"ws://127.0.0.1:{port}/ws", abandon_on_cancel=True)
    found = {one.case_id: (one.behavior.value, one.behavior_close.value) for one in results}
    assert {case: ends for case, ends in found.items() if ends[0] not in PASSED or ends[1] not in CLOSED_WELL} == {}
    assert len(found) == CASES
