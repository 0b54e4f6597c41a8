"""Well-known keys and tokens in a JSON text → [redacted:TYPE]. The text stays JSON of the same shape.

Patterns, not proof: what has the form of a key that somebody issues is found, a password in a sentence is not. A rule's
pattern is only tried where one of its literals occurs, and its work is bounded by the length of the text: an unbounded
run of characters can only begin where the run before it has ended.
"""

import re

import attrs

# A key begins behind no character of keys; or behind an escape, whose last letter looks like one.
_EDGE = rb"(?:(?<![A-Za-z0-9_-])|(?<=\\[nrtbf])|(?<=\\u[0-9A-Fa-f]{4}))"
_UNESCAPED = rb"(?<!\\)"  # before a first letter that would also end an escape: \n and pm_…
_END = rb"(?![A-Za-z0-9])"
_WORD = rb"[A-Za-z0-9_-]"
_B64 = rb"(?:[A-Za-z0-9+=]|\\?/)"
_BREAK = rb"\\+[nrt]|[ \t]|\xe2\x86\x92"  # line ends as JSON, and JSON in JSON, has them; line numbers with an arrow
_PEM_BODY = rb"(?:[A-Za-z0-9+=:,.]|\\*/|-(?!----)|" + _BREAK + rb")*+"
_PEM_CUT = rb"(?:[A-Za-z0-9+=]{32,}|\\*/|" + _BREAK + rb"|[0-9]{1,6}\xe2\x86\x92)*+"
_PEM_NAME = rb"[A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
_SET = rb"(?:\\+[\"'nrt]|[^A-Za-z0-9/+\\]){1,8}"  # between a name and its value


@attrs.frozen
class Rule:
    """literals: one of them is in every match. pattern: its first group, if it has one, stays."""

    name: str
    literals: tuple[bytes, ...]
    pattern: re.Pattern[bytes]
    replacement: bytes


def _rule(name: str, literals: bytes, pattern: bytes, *, keep: bool = False) -> Rule:
    what = f"[redacted:{name}]".encode()
    return Rule(name, tuple(literals.split(b"|")), re.compile(pattern), rb"\1" + what if keep else what)


# In this order: a token that is recognised by itself is named after itself also behind "Bearer".
RULES = (
    _rule(
        "private-key",
        b"PRIVATE KEY",
        rb"-----BEGIN " + _PEM_NAME + rb"(?:" + _PEM_BODY + rb"-----END " + _PEM_NAME + rb"|" + _PEM_CUT + rb")",
    ),
    _rule("anthropic", b"sk-ant-", _EDGE + rb"sk-ant-" + _WORD + rb"{16,}"),
    _rule(
        "openai",
        b"sk-",
        _EDGE + rb"sk-(?:(?:proj|svcacct|admin|or-v1)-" + _WORD + rb"{20,}|[A-Za-z0-9]{32,}" + _END + rb")",
    ),
    _rule("github", b"ghp_|gho_|ghu_|ghs_|ghr_", _EDGE + rb"gh[pousr]_[A-Za-z0-9]{36,255}" + _END),
    _rule("github", b"github_pat_", _EDGE + rb"github_pat_[A-Za-z0-9_]{40,255}"),
    _rule("gitlab", b"glpat-", _EDGE + rb"glpat-" + _WORD + rb"{20,}"),
    _rule("aws-key-id", b"AKIA|ASIA", _EDGE + rb"A[KS]IA[A-Z2-7]{16}" + _END),
    _rule(
        "aws-secret",
        b"secret_access_key|SECRET_ACCESS_KEY|SecretAccessKey|secretAccessKey",
        rb"((?:[Ss]ecret_?[Aa]ccess_?[Kk]ey|SECRET_ACCESS_KEY)"
        + _SET
        + rb")(?:[A-Za-z0-9+]|\\?/){40}(?![A-Za-z0-9+/=])",
        keep=True,
    ),
    _rule("slack", b"xox|xapp-", _EDGE + rb"(?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{10,}"),
    _rule(
        "slack-webhook",
        b"hooks.slack.com",
        rb"(hooks\.slack\.com\\?/services\\?/)[A-Za-z0-9]{6,}\\?/[A-Za-z0-9]{6,}\\?/[A-Za-z0-9]{16,}",
        keep=True,
    ),
    _rule("google", b"AIza", _EDGE + rb"AIza" + _WORD + rb"{35}" + _END),
    _rule("google-oauth", b"ya29.|GOCSPX-", _EDGE + rb"(?:ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-" + _WORD + rb"{28})"),
    _rule(
        "stripe",
        b"_live_|_test_|whsec_",
        rb"(?:" + _EDGE + rb"sk|" + _EDGE + _UNESCAPED + rb"rk)_(?:live|test)_[A-Za-z0-9]{16,}"
        rb"|" + _EDGE + rb"whsec_[A-Za-z0-9+/]{24,}",
    ),
    _rule("npm", b"npm_", _EDGE + _UNESCAPED + rb"npm_[A-Za-z0-9]{36}" + _END),
    _rule("pypi", b"pypi-AgE", _EDGE + rb"pypi-AgE" + _WORD + rb"{40,}"),
    _rule("huggingface", b"hf_", _EDGE + rb"hf_[A-Za-z0-9]{30,}"),
    _rule("digitalocean", b"_v1_", _EDGE + rb"do[opr]_v1_[0-9a-f]{64}" + _END),
    _rule("docker", b"dckr_pat_", _EDGE + rb"dckr_pat_" + _WORD + rb"{20,}"),
    _rule("sendgrid", b"SG.", _EDGE + rb"SG\." + _WORD + rb"{22}\." + _WORD + rb"{43}" + _END),
    _rule(
        "supabase", b"sb_secret_|sbp_", _EDGE + rb"(?:sb_secret_" + _WORD + rb"{20,}|sbp_[0-9a-f]{40}" + _END + rb")"
    ),
    _rule("vault", b"hvs.", _EDGE + rb"hvs\." + _WORD + rb"{24,}"),
    _rule("groq", b"gsk_", _EDGE + rb"gsk_[A-Za-z0-9]{40,}"),
    _rule("telegram", b":AA", _EDGE + rb"[0-9]{8,10}:AA" + _WORD + rb"{33}" + _END),
    _rule("age", b"AGE-SECRET-KEY-1", rb"AGE-SECRET-KEY-1[A-Z0-9]{58}"),
    _rule("azure", b"AccountKey=", rb"(AccountKey=)" + _B64 + rb"{86,88}", keep=True),
    _rule("jwt", b"eyJ", _EDGE + rb"eyJ" + _WORD + rb"{8,}\.eyJ" + _WORD + rb"{8,}\." + _WORD + rb"{8,}"),
    _rule(
        "bearer",
        b"earer ",
        rb"([Bb]earer {1,4})(?=[A-Za-z._~+/=-]{0,64}[0-9])[A-Za-z0-9._~+/=-]{16,}",
        keep=True,
    ),
    _rule(
        "basic",
        b"asic ",
        rb"([Aa]uthorization[\\\"': ]{1,8}[Bb]asic {1,4})" + _B64 + rb"{12,}",
        keep=True,
    ),
    _rule(
        "password",
        b"://|:\\/\\/",
        rb"(:\\?/\\?/[^\s\"\\/:@<>]{0,128}:)[^\s\"\\/@<>]{3,256}(?=@)",
        keep=True,
    ),
)


def rules_in(text: bytes) -> tuple[Rule, ...]:
    """The rules that may find something in pieces of a text: for many short ones it pays to ask once."""
    return tuple([rule for rule in RULES if any(literal in text for literal in rule.literals)])


def redact(text: bytes, rules: tuple[Rule, ...] = RULES) -> bytes:
    """The text without keys: the same object if there are none."""
    for rule in rules:
        for literal in rule.literals:
            if literal in text:
                text = rule.pattern.sub(rule.replacement, text)
                break
    return text
