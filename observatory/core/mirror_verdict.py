"""What a database's refusal means for what was sent: try again, wait for a person, or put these rows aside.

Decided by the code first: SQLSTATE, as PostgreSQL gives it and PostgREST passes it on, or PostgREST's own; then by the
status of HTTP. Source: docs/supabase.md, What can go wrong.
"""

import attrs

MESSAGE_CHARS = 300  # of what the other side says
MIGRATE = "bring its tables up to date: observatory supabase migrate"
INIT = "set the database up: observatory supabase init"
KEY = "check SUPABASE_KEY, SUPABASE_JWT or SUPABASE_DB_URL; observatory supabase init makes a key for this machine"


@attrs.frozen
class Again:
    """It may go well later. after: seconds that were asked for; smaller: with fewer rows at a time."""

    reason: str
    after: float | None = None
    smaller: bool = False


@attrs.frozen
class Paused:
    """It will not go well until somebody does what `hint` says; it is tried again all the same."""

    reason: str
    hint: str


@attrs.frozen
class Rejected:
    """One of these rows cannot be stored, however often it is sent."""

    reason: str


Verdict = Again | Paused | Rejected

_PAUSED = {
    "42501": ("the policies of the database deny it", KEY),
    "42P01": ("its tables are not there", INIT),
    "42883": ("its functions are not there", INIT),
    "3F000": ("its schema is not there", INIT),
    "3D000": ("there is no such database", "check SUPABASE_DB_URL"),
    "42703": ("its tables are of another version", MIGRATE),
    "42P10": ("its tables are of another version", MIGRATE),
    "42804": ("its tables are of another version", MIGRATE),
    "28000": ("the login is not accepted", KEY),
    "28P01": ("the password is not accepted", KEY),
    "25006": ("the database is read-only", "check its disk, and its plan, at Supabase"),
    "PGRST106": ("its schema is not exposed", "add it in Supabase's API settings, or change supabase_schema"),
    "PGRST202": ("its functions are not there", INIT),
    "PGRST204": ("its tables are of another version", MIGRATE),
    "PGRST205": ("its tables are not there", INIT),
    "PGRST300": ("the server cannot check keys", "set its JWT secret"),
    "PGRST301": ("the key is not accepted", KEY),
    "PGRST302": ("it wants a key", KEY),
    "PGRST303": ("the key has run out, or the clocks of both machines differ", KEY),
}
_REJECTED_CLASSES = frozenset({"21", "22", "23", "54"})  # data, constraints, limits
_REJECTED_CODES = frozenset({"PGRST102"})
_SMALLER_CODES = frozenset({"57014", "53200"})  # it took too long; out of memory
_AGAIN_STATUSES = frozenset({408, 425, 500, 502, 503, 504, *range(520, 531)})
_REJECTED_STATUSES = frozenset({400, 406, 413, 422})


def of_code(code: str, message: str) -> Verdict | None:
    """By SQLSTATE or a code of PostgREST; None for one that says nothing."""
    told = short(message)
    if code in _PAUSED:
        reason, hint = _PAUSED[code]
        return Paused(f"{reason} ({told})", hint)
    if code in _REJECTED_CODES or (len(code) == 5 and code[:2] in _REJECTED_CLASSES):
        return Rejected(told)
    if code in _SMALLER_CODES:
        return Again(told, smaller=True)
    if len(code) == 5 and code[:2] == "42":
        return Paused(told, MIGRATE)
    return Again(told) if len(code) == 5 else None


def of_answer(status: int, code: str, message: str, after: float | None = None) -> Verdict:
    """By an answer of HTTP that is none of success. after: its Retry-After."""
    told = f"it answers {status} ({short(message)})"
    if status == 429:
        return Again("too many requests", after, smaller=True)
    if status in _AGAIN_STATUSES:
        return Again(told, after)
    found = of_code(code, message)
    if found is not None:
        return found
    if status == 409:
        return Again(told, after)
    if status in _REJECTED_STATUSES:
        return Rejected(told)
    if status in (401, 403):
        return Paused(f"the key is not accepted ({short(message)})", KEY)
    return Paused(told, "check SUPABASE_URL: https://<project>.supabase.co")


def of_connecting(message: str) -> Verdict:
    """By what a connection to PostgreSQL that fails says: there is no code yet."""
    told = short(message)
    if "authentication failed" in told or "Tenant or user not found" in told or "no pg_hba.conf entry" in told:
        return Paused(f"the login is not accepted ({told})", KEY)
    if 'database "' in told and "does not exist" in told:
        return Paused(told, "check SUPABASE_DB_URL")
    if "invalid" in told and ("sslmode" in told or "port" in told or "connection option" in told):
        return Paused(told, "check SUPABASE_DB_URL")
    return Again(told)


def short(message: str) -> str:
    """The first line of what the other side says."""
    lines = message.strip().splitlines()
    return lines[0].strip()[:MESSAGE_CHARS] if lines else "it does not say why"
