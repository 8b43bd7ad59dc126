"use strict";

// What is shown is put into the page as text, never as markup: clients choose names.
const at = (id) => document.getElementById(id);
const token = () => sessionStorage.getItem("token");

const EVERY = 2000;

function ask(path, options = {}) {
  const headers = { "content-type": "application/json" };
  if (token()) headers.authorization = `Bearer ${token()}`;
  return fetch(path, { ...options, headers });
}

function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  for (; count >= 1024 && unit + 1 < units.length; unit++) count /= 1024;
  return `${unit && count < 100 ? count.toFixed(1) : Math.round(count)} ${units[unit]}`;
}

function time(seconds) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const [size, unit] = parts.find(([size]) => seconds >= size) ?? [1, "s"];
  return `${Math.floor(seconds / size)} ${unit}`;
}

function text(id, value) {
  if (at(id).textContent !== value) at(id).textContent = value;
}

function element(name, content, classes) {
  const made = document.createElement(name);
  made.textContent = content ?? "";
  if (classes) made.className = classes;
  return made;
}

/** A table of names and values. */
function pairs(id, rows, none) {
  const made = rows.map(([name, value, classes]) => {
    const row = document.createElement("tr");
    row.append(element("td", name), element("td", value, classes));
    return row;
  });
  if (!made.length) {
    const row = document.createElement("tr");
    row.append(element("td", none));
    made.push(row);
  }
  at(id).replaceChildren(...made);
}

function counts(id, table, none) {
  const rows = Object.entries(table).sort((a, b) => b[1] - a[1]);
  pairs(id, rows.map(([name, count]) => [name.replaceAll("_", " "), String(count)]), none);
}

/** Lines of the last seconds, the newest at the right. */
function plot(id, lines) {
  const most = Math.max(1, ...lines.flatMap(([, values]) => values));
  const made = lines.map(([classes, values]) => {
    const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
    const points = values.map((value, index) => {
      const x = 300 - values.length + index;
      return `${x},${(99 - (value / most) * 97).toFixed(1)}`;
    });
    line.setAttribute("points", points.join(" "));
    line.setAttribute("class", classes);
    return line;
  });
  at(id).replaceChildren(...made);
  return most;
}

const COLUMNS = [
  ["Client", (it) => it.client],
  ["User", (it) => it.user],
  ["Target", (it) => it.target],
  ["Command", (it) => it.command],
  ["From client", (it) => bytes(it.up), "number"],
  ["To client", (it) => bytes(it.down), "number"],
  ["Since", (it) => time(it.seconds), "number"],
  ["Node", (it) => it.node],
];

/** Rows stay where they are from one time to the next, so that a click meets its row. */
const rows = new Map();

function newRow(id) {
  const row = document.createElement("tr");
  for (const [name, , classes] of COLUMNS) {
    const cell = element("td", "", classes);
    cell.dataset.name = name;
    row.append(cell);
  }
  const button = element("button", "End");
  button.addEventListener("click", () => end(id, button));
  const cell = document.createElement("td");
  cell.append(button);
  row.append(cell);
  return row;
}

function showSessions({ sessions, found }) {
  const live = new Set(sessions.map((it) => it.id));
  for (const [id, row] of rows) {
    if (!live.has(id)) {
      row.remove();
      rows.delete(id);
    }
  }
  const body = at("sessions").tBodies[0];
  for (const session of sessions) {
    let row = rows.get(session.id);
    if (!row) {
      row = newRow(session.id);
      rows.set(session.id, row);
      body.append(row);
    }
    COLUMNS.forEach(([, value], index) => {
      const cell = row.cells[index];
      const content = value(session);
      if (cell.textContent !== content) cell.textContent = content;
    });
    row.cells[6].title = new Date(session.since * 1000).toLocaleString();
  }
  const hidden = found - sessions.length;
  text("found", hidden ? `${found}, the oldest ${sessions.length} shown` : String(found));
}

function show(state) {
  const { totals } = state;
  const seconds = totals.seconds;
  const last = seconds.at(-1) ?? { accepted: 0, up: 0, down: 0 };
  text("live", String(totals.live));
  text("accepted-now", String(last.accepted));
  text("down-now", bytes(last.down));
  text("up-now", bytes(last.up));
  const column = (name) => seconds.map((it) => it[name]);
  const most = plot("bytes", [["down", column("down")], ["up", column("up")]]);
  text("bytes-most", `at most ${bytes(most)}`);
  const connections = [["down", column("live")], ["up", column("accepted")]];
  text("connections-most", `at most ${plot("connections", connections)}`);
  pairs("totals", [
    ["connections", String(totals.accepted)],
    ["to clients", bytes(totals.down)],
    ["from clients", bytes(totals.up)],
  ]);
  counts("refusals", totals.refusals, "nobody yet");
  counts("ends", totals.ends, "none yet");
  const health = ({ name, live, is_out }) =>
    [name, is_out ? "out" : `${live} live`, is_out ? "bad" : ""];
  pairs("upstreams", state.upstreams.map(health), "no pool: nothing to choose from");
  const { redis } = state;
  pairs("redis", redis ? [
    ["now", redis.is_up ? "answers" : "gone", redis.is_up ? "" : "bad"],
    ["questions", String(redis.questions)],
    ["unanswered", String(redis.unanswered)],
    ["outages", String(redis.outages)],
  ] : [], "none: this node counts alone");
  showSessions(state);
  text("node", state.node);
  document.title = `socks-proxy ${state.node}`;
  status(state.ready ? "ready" : "ending: it takes no more clients", state.ready);
}

function status(words, good) {
  text("status", words);
  at("status").className = good ? "good" : "bad";
}

async function end(id, button) {
  button.disabled = true;
  const answer = await ask(`api/sessions/${encodeURIComponent(id)}/end`, { method: "POST" });
  if (!answer.ok && answer.status !== 404) button.disabled = false;
  await refresh();
}

async function refresh() {
  try {
    const answer = await ask(`api/state?find=${encodeURIComponent(at("find").value)}`);
    const known = answer.status !== 401;
    at("login").hidden = known;
    at("shown").hidden = !known || !answer.ok;
    if (!known) {
      // What was shown is for those who have the token.
      at("sessions").tBodies[0].replaceChildren();
      rows.clear();
      status(token() ? "that is not the token" : "needs the token", false);
    } else if (answer.ok) {
      show(await answer.json());
    } else {
      status(answer.status === 421
        ? "ask for this page by address: http://127.0.0.1, or localhost"
        : `error ${answer.status}`, false);
    }
  } catch {
    status("does not answer", false);
  }
}

at("login").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("token", at("token").value);
  at("token").value = "";
  refresh();
});
at("find").addEventListener("input", refresh);

async function forever() {
  await refresh();
  // One after the other: a slow answer is not asked for twice.
  setTimeout(forever, document.hidden ? 5 * EVERY : EVERY);
}
forever();
