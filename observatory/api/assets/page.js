// The page until the dashboard: asks the API, follows its events, and says when it cannot. Every text is put in as text.
const base = document.body.dataset.base;
const api = `${base}/api/v1`;
const at = (id) => document.getElementById(id);
const say = (id, text) => { at(id).textContent = text; };
const number = new Intl.NumberFormat();
const SHOWN = 12;
const MINUTE = 60_000;

let conversations = new Map();
let arrivals = [];
let source = null;

function state(kind, text) {
  at("state").className = `state ${kind}`;
  say("state", text);
}

class LoggedOut extends Error {}

async function get(path) {
  const answer = await fetch(`${api}${path}`);
  if (answer.status === 401) throw new LoggedOut();
  const told = await answer.json();
  if (!answer.ok && !told.status) throw new Error(told.error?.message ?? answer.statusText);
  return told;
}

function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129_600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} d`;
}

function row(one) {
  const item = document.createElement("li");
  const part = (tag, className, text) => {
    const made = document.createElement(tag);
    made.className = className;
    made.textContent = text;
    item.append(made);
    return made;
  };
  const shown = one.status === "error" ? "error" : one.activity;
  part("span", shown, shown);
  part("span", "title", one.title || "untitled");
  part("time", "", `${duration(Math.max(0, (Date.now() - Date.parse(one.updated_at)) / 1000))} ago`).dateTime =
    one.updated_at;
  part("span", "about", [one.cwd, one.model, `${number.format(one.message_count)} messages`].filter(Boolean).join(" · "));
  return item;
}

function show() {
  const rows = [...conversations.values()].filter((one) => !one.agent_id)
    .sort((a, b) => (a.updated_at < b.updated_at ? 1 : -1)).slice(0, SHOWN);
  at("sessions").replaceChildren(...rows.map(row));
  at("empty").hidden = rows.length > 0;
}

function take(event) {
  arrivals.push(Date.now());
  say("head", number.format(event.seq));
  const { type, data } = event;
  if (type === "conversation_forgotten") conversations.delete(data.id);
  if (type !== "conversation_started" && type !== "conversation_update") return;
  conversations.set(data.id, { updated_at: new Date().toISOString(), activity: "working", ...conversations.get(data.id), ...data });
  show();
}

async function figures() {
  const [health, told] = await Promise.all([get("/health"), get("/status")]);
  state(health.status, health.status === "ok" ? `live · version ${told.version}`
    : [health.status, health.stuck, ...told.components.map((part) => part.details)].filter(Boolean).join(" · "));
  say("head", number.format(told.position.seq));
  say("clients", number.format(Object.values(told.clients).reduce((a, b) => a + b, 0)));
  say("uptime", duration(told.uptime_seconds));
  const hop = told.latency?.detected_to_written;
  say("latency", hop?.count ? `${(hop.p99 * 1000).toFixed(1)} ms` : "–");
}

function rate() {
  arrivals = arrivals.filter((moment) => moment > Date.now() - MINUTE);
  say("rate", number.format(arrivals.length));
}

async function load() {
  const found = await get(`/conversations?limit=${SHOWN}`);
  conversations = new Map(found.conversations.map((one) => [one.id, one]));
  show();
  return found.position;
}

async function follow() {
  const position = await load();
  source?.close();
  source = new EventSource(`${api}/events/stream?topic=all_conversations&topic=project_updates&since=${position.epoch}:${position.seq}`);
  source.onmessage = (message) => take(JSON.parse(message.data));
  source.addEventListener("resync", () => { load().catch(fail); });
  source.onopen = () => { figures().catch(fail); };
  source.onerror = () => { state("lost", "no connection; trying again"); };
}

function fail(error) {
  if (error instanceof LoggedOut) {
    source?.close();
    at("login").hidden = false;
    state("lost", "logged out");
  } else {
    state("lost", `no answer: ${error.message}; trying again`);
  }
}

at("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const answer = await fetch(`${api}/login`, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token: at("token").value }),
  });
  at("token").value = "";
  if (!answer.ok) {
    say("login-error", (await answer.json()).error.message);
    return;
  }
  at("login").hidden = true;
  start();
});

function start() {
  figures().then(follow).catch(fail);
}

const socket = new URL(`${base}/ws`, location.href);
socket.protocol = socket.protocol.replace("http", "ws");
say("ws", socket.href);
say("curl", `curl -N '${location.origin}${api}/events/ndjson?follow=true'`);
setInterval(() => { if (at("login").hidden) figures().catch(fail); }, 5000);
setInterval(() => { rate(); show(); }, 2000);
start();
