"""N: the beginning and the end of a connection."""

import errno
from collections.abc import Callable, Mapping
from itertools import product

import attrs
import orjson

from observatory.core.credentials import as_subprotocol
from tests.faults.line import KERNEL_BYTES, Line
from tests.faults.rows import scenario
from tests.faults.rows_clients import close_to
from tests.faults.simworld import SimWorld
from tests.faults.sockets import SocketWorld
from tests.faults.visitor import Visitor, head, knock, request
from tests.faults.wire import BINARY, CLOSE, masked

TOKEN, OTHER = "k" * 43, "o" * 43
HANDSHAKE, FIRST_REQUEST, AUTH = 10.0, 15.0, 10.0  # seconds, docs/protocol.md
GONE_SECONDS = 45.0  # after what befell it a connection is gone: silence is found within 35, a close takes up to 5
FEWEST_CALLS = 5  # else a sweep over them would be none


# -- N07: what can befall a connection at each call that the server makes on it ----------------------------------------


def refuses(line: Line) -> None:
    """The call fails, for a reason that is not the peer's."""
    raise OSError(errno.ENOBUFS, "No buffer space available")


HARMS: Mapping[str, Callable[[Line], None]] = {"EOF": Line.put_end, "RST": Line.reset, "OSError": refuses}
SUBSCRIBED = (head(), request("subscribe", topics=["all_conversations"]), request("ping"))
LIVES: Mapping[str, tuple[bytes, ...]] = {
    "is refused": (head("/nowhere"),),
    "leaves": (*SUBSCRIBED, masked(CLOSE, b"\x03\xe8")),
    "is sent away": (*SUBSCRIBED, masked(BINARY, b"x")),
}


@scenario("N07", sweep=list(product(HARMS, LIVES, (KERNEL_BYTES, 40))))
async def whatever_befalls_a_connection_at_its_nth_call_leaves_nothing_behind(
    world: SimWorld, step: tuple[str, str, int]
) -> None:
    """The n-th of all calls that the server makes on it, for every n; with a kernel that takes much or little."""
    harm, life, capacity = step
    await world.start()
    await world.client("other")
    await world.calm()
    before, tasks, nth = await world.status(), world.node.tasks(), 0
    reached = True
    while reached:
        nth += 1
        line = Line(capacity=capacity, harm_at=nth, harm=HARMS[harm])
        await _live(world, line, LIVES[life])
        await world.until(lambda line=line: line.closed, GONE_SECONDS)  # type: ignore[misc]
        await world.calm()
        after = await world.status()
        assert (after["clients"], after["gauges"]["topics_held"]) == (
            before["clients"],
            before["gauges"]["topics_held"],
        )
        assert world.node.tasks() == tasks, f"V1: at call {nth}"
        assert not after["counters"]["failures"], f"a defect at call {nth}"
        reached = line.calls >= nth
    assert nth > FEWEST_CALLS


async def _live(world: SimWorld, line: Line, life: tuple[bytes, ...]) -> None:
    """A short life, whatever is the matter with the connection."""
    world.node.new_line = lambda: line
    visitor = await knock(world)
    world.node.new_line = Line
    for said in life:
        await visitor.say(said)
        await world.calm()
        world.write("s1")
        await world.calm()


# -- N11, N12: those who take their time -------------------------------------------------------------------------------


@scenario("N11", sweep=("nothing", "a byte a second", "a head without end"))
async def a_handshake_that_takes_too_long_is_dropped_without_an_answer(world: SimWorld, what: str) -> None:
    await world.start()
    slow = [await knock(world) for _ in range(50)]
    long = head("/ws", {"X-Long": "x" * 1000}) if what == "a byte a second" else head()[:-2]
    for second in range(int(HANDSHAKE) + 2):
        for visitor in slow if what != "nothing" else ():
            await visitor.say(long[second : second + 1] if what == "a byte a second" or second else long)
        if second < HANDSHAKE:
            await world.client(f"meanwhile{second}")  # the accept loop serves others
        await world.pause(1.0)
    assert all(close_to(visitor.lasted, HANDSHAKE) for visitor in slow)
    assert not any(visitor.answer or visitor.body for visitor in slow)
    assert not any(line.taken for line in world.node.lines[:50])


@scenario("N12")
async def who_asks_for_nothing_is_closed_with_4000_after_15_seconds_unless_legacy(world: SimWorld) -> None:
    await world.start()
    await world.client("other")
    silent = await knock(world, head())
    wrong = await knock(world, head(), request("nonsense"))  # not a valid request
    by_url = await knock(world, head("/ws?subscribe=system"))
    old = await knock(world, head("/ws", {"Sec-WebSocket-Protocol": None}))
    await world.pause(FIRST_REQUEST + 1)
    for visitor in (silent, wrong):
        assert visitor.told_at is not None
        assert (visitor.code, close_to(visitor.told_at - visitor.began, FIRST_REQUEST)) == (4000, True)
    await world.pause(300)
    assert not old.over.is_set()  # it answers pings
    assert by_url.code == 4012  # it does not: control pings are for legacy clients
    old.wire.reset()


@scenario("N12")
async def a_credential_that_is_due_is_due_within_10_seconds(world: SimWorld) -> None:
    world.configure(token=lambda: TOKEN)
    await world.start()
    await world.client("other")
    silent = await knock(world, head())
    wrong = await knock(world, head(), request("auth", token=OTHER))
    early = await knock(world, head(), request("subscribe", topics=["system"]))
    good = await knock(world, head(), request("auth", token=TOKEN), request("subscribe", topics=["system"]))
    old = await knock(world, head("/ws", {"Sec-WebSocket-Protocol": None}))
    await world.pause(AUTH + 1)
    assert silent.told_at is not None
    assert close_to(silent.told_at - silent.began, AUTH)
    for visitor in (silent, wrong, early):
        assert visitor.code == 4500
        assert [m["data"]["code"] for m in visitor.messages] == ["UNAUTHORIZED"]  # and nothing else was told
    assert [m["type"] for m in good.messages][:2] == ["connection_established", "subscription_confirmed"]
    assert (old.status, old.headers["www-authenticate"]) == (401, "Bearer")
    good.wire.reset()


@scenario("N12")
async def a_token_that_is_replaced_in_mid_stream_closes_who_came_with_it(world: SimWorld) -> None:
    tokens = [TOKEN]
    world.configure(token=lambda: tokens[-1])
    await world.start()
    streaming = await world.target("streaming", returns=False)
    by_auth = await knock(
        world, head(), request("auth", token=TOKEN), request("subscribe", topics=["all_conversations"])
    )
    await world.calm()
    world.write("s1", 5)
    await world.settle()
    assert by_auth.of("message_added")
    tokens.append(OTHER)
    await world.client("new")
    world.write("s1", 5)
    await world.calm()
    await world.until(lambda: by_auth.over.is_set() and streaming.session.over.is_set(), 1)
    assert (by_auth.code, streaming.session.code) == (4500, 4500)
    assert (await _answer(world, head("/ws", {"Authorization": f"Bearer {TOKEN}"}))).status == 401


async def _answer(world: SimWorld | SocketWorld, data: bytes) -> Visitor:
    """What becomes of a request; the connection is over."""
    visitor = await knock(world, data)
    await world.until(lambda: visitor.status is not None, 10)
    visitor.wire.reset()
    await world.until(visitor.over.is_set, 10)
    return visitor


# -- N14: who must not come in -----------------------------------------------------------------------------------------


@attrs.frozen
class Case:
    """A request, and what it must be answered. token: whether the server asks for one."""

    status: int
    code: str = ""
    target: str = "/ws"
    headers: Mapping[str, str | None] = attrs.field(factory=dict)
    token: bool = False


GOOD, STALE = {"Authorization": f"Bearer {TOKEN}"}, {"Cookie": f"observatory_token={OTHER}"}
FOREIGN = {"Origin": "https://evil.example"}
CASES: Mapping[str, Case] = {
    "no origin": Case(101),
    "own origin": Case(101, headers={"Origin": "http://localhost", "Host": "localhost"}),
    "foreign origin": Case(403, "ORIGIN_NOT_ALLOWED", headers=FOREIGN),
    "foreign origin that begins alike": Case(
        403, "ORIGIN_NOT_ALLOWED", headers={"Origin": "http://localhost.evil.example"}
    ),
    "own host at another port": Case(
        403, "ORIGIN_NOT_ALLOWED", headers={"Origin": "http://localhost:1234", "Host": "localhost:8765"}
    ),
    "null origin": Case(403, "ORIGIN_NOT_ALLOWED", headers={"Origin": "null"}),
    "foreign origin of a legacy client": Case(
        403, "ORIGIN_NOT_ALLOWED", headers={**FOREIGN, "Sec-WebSocket-Protocol": None}
    ),
    "rebound host": Case(421, "HOST_NOT_ALLOWED", headers={"Host": "evil.example", "Origin": "http://evil.example"}),
    "no host": Case(400, "BAD_REQUEST", headers={"Host": None}),
    "token in the URL": Case(400, "CREDENTIAL_IN_URL", f"/ws?token={TOKEN}"),
    "token in the URL, where it is asked for": Case(400, "CREDENTIAL_IN_URL", f"/ws?Access_Token={TOKEN}", token=True),
    "good token": Case(101, headers=GOOD, token=True),
    "stale cookie with good token": Case(101, headers={**GOOD, **STALE}, token=True),
    "good token as subprotocol": Case(
        101, headers={"Sec-WebSocket-Protocol": f"observatory.v1, {as_subprotocol(TOKEN)}"}, token=True
    ),
    "stale cookie": Case(401, "UNAUTHORIZED", headers=STALE, token=True),
    "foreign origin with good cookie": Case(
        403, "ORIGIN_NOT_ALLOWED", headers={**FOREIGN, "Cookie": f"observatory_token={TOKEN}"}, token=True
    ),
    "rebound host with good token": Case(421, "HOST_NOT_ALLOWED", headers={"Host": "evil.example", **GOOD}, token=True),
    "good token, wrong path": Case(404, "NOT_FOUND", "/nowhere", GOOD, token=True),
}


@scenario("N14", level=1, sweep=(False, True))
async def who_must_not_come_in_is_told_so_and_no_token_is_in_a_log(world: SocketWorld, token: bool) -> None:
    world.secret = TOKEN if token else None
    await world.start()
    await world.client("other")
    for name, case in CASES.items():
        if case.token != token:
            continue
        found = await _answer(world, head(case.target, case.headers))
        code = "" if found.status == 101 else orjson.loads(found.body)["error"]["code"]
        assert (found.status, code) == (case.status, case.code), name
        assert TOKEN.encode() not in found.answer + found.body, name
    told = repr(world.logged)
    assert not any(secret in told for secret in (TOKEN, OTHER, as_subprotocol(TOKEN))), "a token is in the log"


STRANGER = 65534


@scenario("N14")
async def a_process_of_another_user_is_refused_whatever_it_says(world: SimWorld) -> None:
    """Whose it is, the kernel says; here the scenario does, by the port."""
    world.configure(owner_of=lambda theirs, ours: STRANGER if theirs[1] == STRANGER else 0)
    await world.start()
    await world.client("other")
    world.node.new_line = lambda: Line(address=("127.0.0.1", STRANGER))
    for more in ({}, GOOD, {"Origin": "http://localhost"}):
        found = await _answer(world, head("/ws", more))
        assert (found.status, orjson.loads(found.body)["error"]["code"]) == (403, "NOT_YOUR_SERVER")
    world.node.new_line = Line
