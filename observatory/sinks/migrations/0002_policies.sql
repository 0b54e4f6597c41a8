-- Who may do what. Owners see what is theirs, members the projects that were shared with them, and a machine's writer
-- its machine's rows and no others. anon sees nothing. auth.uid() is Supabase's own: the user of the request.

do $$ begin
    create role observatory_writer nologin;
exception when duplicate_object then null;
end $$;

do $$ begin
    grant observatory_writer to authenticator; -- so that a signed key may ask for this role
exception when undefined_object then null;
end $$;

-- The machine that the caller writes for. A key names it, with its owner, and PostgREST has checked the key: it connects
-- as authenticator. Any other login is looked up, because it could set the claims to what it likes.
create function observatory_writer_machine() returns text
language sql stable security definer set search_path from current as $$
    select case when session_user = 'authenticator' then (
        select m.machine_id from observatory_machines m
        where m.machine_id = nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'machine_id'
        and m.owner_id::text = nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub'
    ) else (
        select w.machine_id from observatory_writers w where w.login = session_user
    ) end
$$;

create function observatory_my_machines() returns setof text
language sql stable security definer set search_path from current as $$
    select machine_id from observatory_machines where owner_id = auth.uid()
$$;

create function observatory_shared_with_me() returns table (machine_id text, project_id text)
language sql stable security definer set search_path from current as $$
    select m.machine_id, m.project_id from project_members m where m.user_id = auth.uid()
$$;

-- How far the schema is, whether a machine is registered, and has rows; the clock, to compare.
create function observatory_about(machine text) returns json
language sql stable security definer set search_path from current as $$
    select json_build_object(
        'version', (select max(version) from observatory_migrations),
        'registered', exists (select 1 from observatory_machines where machine_id = machine),
        'rows', exists (select 1 from messages where machine_id = machine)
                or exists (select 1 from conversations where machine_id = machine),
        'now', extract(epoch from clock_timestamp()))
$$;

revoke all on function observatory_writer_machine(), observatory_my_machines(), observatory_shared_with_me(),
    observatory_about(text) from public;
grant execute on function observatory_writer_machine() to observatory_writer, service_role;
grant execute on function observatory_my_machines(), observatory_shared_with_me() to authenticated, service_role;
grant execute on function observatory_about(text) to authenticated, observatory_writer, service_role;

do $$ begin
    execute format('grant usage on schema %I to anon, authenticated, service_role, observatory_writer', current_schema());
end $$;

alter table observatory_migrations enable row level security;
alter table observatory_machines enable row level security;
alter table observatory_writers enable row level security;
alter table project_members enable row level security;
alter table projects enable row level security;
alter table conversations enable row level security;
alter table messages enable row level security;
alter table tool_calls enable row level security;

-- What is granted by default on new tables of a schema is taken back first: what follows is all there is.
revoke all on observatory_migrations, observatory_machines, observatory_writers, project_members, projects,
    conversations, messages, tool_calls, api_messages from public, anon, authenticated, service_role, observatory_writer;
grant select, insert, update, delete on observatory_migrations, observatory_machines, observatory_writers,
    project_members, projects, conversations, messages, tool_calls to service_role;
grant select on api_messages to service_role, authenticated;
grant select, insert, update, delete on projects, conversations, messages, tool_calls to observatory_writer;
grant select on observatory_machines to observatory_writer;
grant select on projects, conversations, messages, tool_calls, observatory_machines to authenticated;
grant update (name) on observatory_machines to authenticated;
grant select, insert, update, delete on project_members to authenticated;

create policy owner_sees on observatory_machines for select to authenticated
    using (owner_id = (select auth.uid()));
create policy owner_names on observatory_machines for update to authenticated
    using (owner_id = (select auth.uid())) with check (owner_id = (select auth.uid()));
create policy writer_sees on observatory_machines for select to observatory_writer
    using (machine_id = (select observatory_writer_machine()));

create policy owner_shares on project_members for all to authenticated
    using (machine_id in (select observatory_my_machines()))
    with check (machine_id in (select observatory_my_machines()));
create policy member_sees on project_members for select to authenticated
    using (user_id = (select auth.uid()));
create policy member_leaves on project_members for delete to authenticated
    using (user_id = (select auth.uid()));

create policy seen on projects for select to authenticated
    using (machine_id in (select observatory_my_machines())
           or (machine_id, id) in (select s.machine_id, s.project_id from observatory_shared_with_me() s));
create policy seen on conversations for select to authenticated
    using (machine_id in (select observatory_my_machines())
           or (machine_id, project_id) in (select s.machine_id, s.project_id from observatory_shared_with_me() s));
create policy seen on messages for select to authenticated
    using (machine_id in (select observatory_my_machines())
           or (machine_id, project_id) in (select s.machine_id, s.project_id from observatory_shared_with_me() s));
create policy seen on tool_calls for select to authenticated
    using (machine_id in (select observatory_my_machines())
           or (machine_id, project_id) in (select s.machine_id, s.project_id from observatory_shared_with_me() s));

create policy written on projects for all to observatory_writer
    using (machine_id = (select observatory_writer_machine()))
    with check (machine_id = (select observatory_writer_machine()));
create policy written on conversations for all to observatory_writer
    using (machine_id = (select observatory_writer_machine()))
    with check (machine_id = (select observatory_writer_machine()));
create policy written on messages for all to observatory_writer
    using (machine_id = (select observatory_writer_machine()))
    with check (machine_id = (select observatory_writer_machine()));
create policy written on tool_calls for all to observatory_writer
    using (machine_id = (select observatory_writer_machine()))
    with check (machine_id = (select observatory_writer_machine()));
