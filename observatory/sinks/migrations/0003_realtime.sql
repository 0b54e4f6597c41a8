-- Changes of these tables go to whoever subscribes with Supabase Realtime, row by row through the policies.
do $$
declare
    name text;
begin
    if exists (select 1 from pg_publication where pubname = 'supabase_realtime' and not puballtables) then
        foreach name in array array['projects', 'conversations', 'messages', 'tool_calls'] loop
            if not exists (select 1 from pg_publication_tables
                           where pubname = 'supabase_realtime' and schemaname = current_schema() and tablename = name) then
                execute format('alter publication supabase_realtime add table %I.%I', current_schema(), name);
            end if;
        end loop;
    end if;
end $$;
