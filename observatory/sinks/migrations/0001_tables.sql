-- The copy's tables. A line of a transcript is keyed by where it stands: machine, source (the archive's number of its
-- file), generation (the file was rewritten so often) and byte offset; its uuid is not unique, as forks repeat it.
-- Nothing is counted by triggers: what is counted comes with the rows. There are no foreign keys between the tables that
-- are written live: a row that cannot be stored holds up none of the others.

create table observatory_migrations (
    version     integer primary key,
    name        text not null,
    applied_at  timestamptz not null default now()
);

create table observatory_machines (
    machine_id  text primary key,
    owner_id    uuid not null,           -- auth.users.id of whose transcripts they are
    name        text not null,
    created_at  timestamptz not null default now()
);
create index observatory_machines_of_owner on observatory_machines (owner_id);

create table observatory_writers (       -- logins of the database that write for a machine
    login       name primary key,
    machine_id  text not null references observatory_machines on delete cascade
);
create index observatory_writers_of_machine on observatory_writers (machine_id);

create table projects (
    machine_id          text not null,
    id                  text not null,
    name                text not null,
    path                text not null,
    status              text not null,
    conversation_count  bigint not null,
    created_at          timestamptz not null,
    updated_at          timestamptz not null,
    last_activity       timestamptz not null,
    altered             boolean not null, -- characters that PostgreSQL cannot hold were replaced
    truncated           boolean not null, -- texts were cut: the archive has them whole
    primary key (machine_id, id)
);

create table project_members (           -- who else sees a project
    machine_id  text not null references observatory_machines on delete cascade,
    project_id  text not null,
    user_id     uuid not null,
    added_at    timestamptz not null default now(),
    primary key (machine_id, project_id, user_id)
);
create index project_members_by_user on project_members (user_id);

create table conversations (             -- one transcript file, also a sub-agent's
    machine_id          text not null,
    id                  text not null,
    project_id          text not null,
    session_id          text not null,
    parent_id           text,
    agent_id            text,
    title               text,
    status              text not null,   -- active, completed, error
    message_count       bigint not null,
    prompt_count        bigint not null,
    reply_count         bigint not null,
    tool_usage_count    bigint not null,
    tool_error_count    bigint not null,
    model               text,
    input_tokens        bigint not null, -- totals: each API message counts once
    output_tokens       bigint not null,
    cache_creation_tokens bigint not null,
    cache_read_tokens   bigint not null,
    cwd                 text,
    git_branch          text,
    created_at          timestamptz not null,
    updated_at          timestamptz not null,
    altered             boolean not null,
    truncated           boolean not null,
    primary key (machine_id, id)
);
create index conversations_of_project on conversations (machine_id, project_id, updated_at desc);
create index conversations_by_time on conversations (updated_at desc);

create table messages (                  -- one line that says something
    machine_id          text not null,
    source_id           integer not null,
    generation          smallint not null,
    byte_offset         bigint not null,
    position            bigint generated always as ((generation::bigint << 37) + byte_offset) stored,
    conversation_id     text not null,
    project_id          text not null,
    line                bigint not null,
    type                text not null,   -- verbatim
    kind                text not null,   -- prompt, command, tool_result, note, interruption, assistant, error, other
    role                text not null,   -- user, assistant, system
    uuid                text,
    parent_uuid         text,
    message_id          text,            -- of the API: several lines may share it
    model               text,
    content             text not null,   -- '' where a line holds tool calls or results only
    thinking            text,
    "timestamp"         timestamptz,
    token_count         bigint,          -- input and output, as this line says; see the view api_messages
    input_tokens        bigint,
    output_tokens       bigint,
    cache_creation_tokens bigint,
    cache_read_tokens   bigint,
    is_sidechain        boolean not null,
    is_meta             boolean not null,
    is_copy             boolean not null, -- a fork's or resume's copy of a line of another file
    superseded          boolean not null, -- the file was rewritten without it
    altered             boolean not null,
    truncated           boolean not null,
    raw                 jsonb,           -- the whole line, with supabase_scope = all
    primary key (machine_id, source_id, generation, byte_offset)
);
create index messages_of_conversation on messages (machine_id, conversation_id, source_id, position);
create index messages_by_time on messages ("timestamp" desc);

create table tool_calls (
    machine_id          text not null,
    conversation_id     text not null,
    tool_use_id         text not null,
    project_id          text not null,
    name                text not null,
    input               jsonb,
    output              text,
    status              text,            -- pending, success, error, orphaned
    called_at           timestamptz,
    answered_at         timestamptz,
    duration_ms         bigint,
    source_id           integer not null, -- source_id … byte_offset: the message that calls it
    generation          smallint not null,
    byte_offset         bigint not null,
    altered             boolean not null,
    truncated           boolean not null,
    primary key (machine_id, conversation_id, tool_use_id)
);
create index tool_calls_by_name on tool_calls (name, called_at desc);

-- What each message of the API cost: its lines repeat its counts, and the largest are right.
create view api_messages with (security_invoker = true) as
select machine_id, project_id, conversation_id, message_id, max(model) as model, min("timestamp") as "timestamp",
       max(input_tokens) as input_tokens, max(output_tokens) as output_tokens,
       max(cache_creation_tokens) as cache_creation_tokens, max(cache_read_tokens) as cache_read_tokens
from messages
where message_id is not null and input_tokens is not null
group by machine_id, project_id, conversation_id, message_id;
