/** What travels on the wire, as docs/protocol.md and docs/api.md describe it. Every text is other people's. */

export interface Position {
  epoch: string;
  seq: number;
}

export interface Tokens {
  input_tokens: number;
  output_tokens: number;
  cache_creation_input_tokens: number;
  cache_read_input_tokens: number;
}

export type Status = "active" | "completed" | "error";
export type Activity = "working" | "waiting" | "idle";
export type Kind = "prompt" | "command" | "tool_result" | "note" | "interruption" | "assistant" | "error" | "other";

export interface Project {
  id: string;
  name: string;
  path: string;
  created_at: string;
  updated_at: string;
  last_activity: string;
  conversation_count?: number;
  status?: "active" | "inactive";
}

/** `conversation_started`, and what of it `conversation_update` repeats. */
export interface Conversation {
  id: string;
  project_id: string;
  session_id: string;
  message_count: number;
  file_path: string;
  title?: string | null;
  status?: Status;
  activity?: Activity;
  tool_usage_count?: number;
  created_at?: string;
  updated_at?: string;
  agent_id?: string;
  parent_id?: string;
  model?: string;
  tokens?: Tokens;
}

/** A conversation as the HTTP API gives it: with what a person says of it. */
export interface ConversationRow extends Conversation {
  tool_error_count: number;
  cwd: string | null;
  git_branch: string | null;
  last_prompt: string | null;
  starred: boolean;
  tags: string[];
  note: string;
}

export interface RecordData {
  id: string;
  type: string;
  kind: Kind;
  uuid: string | null;
  parent_uuid: string | null;
  offset: number;
  length: number;
  timestamp: string | null;
  is_sidechain: boolean;
  is_meta: boolean;
  subtype?: string;
  agent_id?: string;
  text?: string;
  raw?: Record<string, unknown>;
  truncated?: boolean;
  error?: string;
}

export interface ToolCall {
  id: string;
  message_id: string;
  tool_name: string;
  tool_input: unknown;
  status: string;
  created_at: string | null;
}

export interface ToolResult {
  tool_use_id: string;
  is_error: boolean;
  content: string;
}

/** A content block as in the transcript; its fields depend on its type, and none can be relied on. */
export interface Block {
  type?: unknown;
  [field: string]: unknown;
}

export interface Message {
  id: string;
  conversation_id: string;
  role: "user" | "assistant";
  content: string;
  timestamp: string | null;
  sequence_number: number;
  message_id?: string;
  model?: string;
  blocks?: Block[];
  tool_calls?: ToolCall[];
  tool_results?: ToolResult[];
}

/** `record` and `message` of one line of a transcript. */
export interface Entry {
  record: RecordData;
  message: Message | null;
}

export interface MessageAdded extends Entry {
  conversation_id: string;
  project_id: string;
  session_id: string;
  usage_delta?: Tokens;
}

export interface HookEvent {
  id: string;
  hook_event_name: string;
  session_id: string;
  conversation_id: string;
  project_id: string | null;
  at: string;
  payload: Record<string, unknown>;
}

export interface Component {
  component_name: string;
  status: "ok" | "degraded" | "unavailable";
  details?: string | null;
  last_checked: string;
}

export interface Snapshot {
  projects: Project[];
  conversations: Conversation[];
  truncated: boolean;
  position: Position;
}

interface Known {
  message_added: MessageAdded;
  conversation_started: Conversation;
  conversation_update: Conversation;
  conversation_forgotten: { id: string };
  project_update: Project;
  project_forgotten: { id: string };
  hook_event: HookEvent;
  system_status: { service_status: Component["status"]; components: Component[]; checked_at: string };
}

/** An event of the log. Types that are not known here come too: `isOf` tells them apart. */
export interface LogEvent<T = unknown> {
  type: string;
  data: T;
  seq: number | null;
  epoch: string | null;
  timestamp: number;
}

/** Whether an event is of a type, whose data is then known. */
export function isOf<T extends keyof Known>(event: LogEvent, type: T): event is LogEvent<Known[T]> {
  return event.type === type && typeof event.data === "object" && event.data !== null;
}
