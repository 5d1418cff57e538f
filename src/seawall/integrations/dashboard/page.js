
"use strict";
// Text from outside (origins, paths, errors) goes into the page as text nodes only.
const SECONDS = 300, BIN = 5, BINS = SECONDS / BIN, SLOW = 3000, STILL = 10;
const byId = (id) => document.getElementById(id);
const rows = new Map(), failures = new Map();
let source = null, timer = 0, clock = { at: 0, seen: 0 };

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
function drawing(tag, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}
function say(node, text, kind) {  // writes only what changed
  if (node.textContent !== text) node.textContent = text;
  if (kind !== undefined && node.className !== kind) node.className = kind;
}

// Figures

const whole = new Intl.NumberFormat("en-GB"), NONE = "–";
const count = (value) => value === null ? "∞" : whole.format(Math.round(value));
const rate = (value) => value >= 10 ? whole.format(Math.round(value)) : value >= 0.05 ? value.toFixed(1) : value > 0 ? value.toFixed(2) : "0";
function time(value) {
  if (value === null) return NONE;
  if (value >= 99.5) return `${Math.round(value)} s`;
  if (value >= 0.995) return `${value.toFixed(value >= 9.95 ? 1 : 2)} s`;
  return value >= 0.00995 ? `${Math.round(value * 1000)} ms` : `${(value * 1000).toFixed(1)} ms`;
}
function share(value) {  // 100 % only if it is
  if (value === null) return NONE;
  return value === 1 ? "100 %" : `${(Math.floor(value * 1000) / 10).toFixed(1)} %`;
}
const grade = (good) => good === null || good >= 0.99 ? "" : good >= 0.5 ? "warn" : "bad";
function ago(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.round(seconds))} s ago`;
  return seconds < 5400 ? `${Math.round(seconds / 60)} min ago` : `${Math.round(seconds / 3600)} h ago`;
}
const plain = (origin) => origin.replace(/^(http:.*):80$|^(https:.*):443$/, "$1$2");  // without its scheme's port
const plural = (number, noun) => `${whole.format(number)} ${noun}${number === 1 ? "" : "s"}`;

// Charts: one bin is five whole seconds, so that they move without flickering

function bins(values, end, merge) {
  const parts = Array.from({ length: BINS }, () => []), last = Math.ceil(end / BIN);
  values.forEach((value, index) => {
    const bin = BINS - (last - Math.floor((end - values.length + index) / BIN));
    if (value !== null && bin >= 0) parts[bin].push(value);
  });
  return parts.map((part) => part.length ? merge(part) : null);
}
const mean = (part) => part.reduce((all, each) => all + each, 0) / part.length;
const highest = (part) => Math.max(...part);
class Chart {
  constructor(width, height, kinds) {
    this.width = width; this.height = height;
    this.paths = kinds.map((kind) => drawing("path", { class: kind }));
    const base = drawing("line", { class: "base", x1: 0, x2: width, y1: height + .5, y2: height + .5 });
    this.node = drawing("svg", { viewBox: `0 0 ${width} ${height + 1}`, width, height: height + 1, "aria-hidden": "true", preserveAspectRatio: "none" }, base, ...this.paths);
  }
  bars(...series) {
    const top = Math.max(.2, ...series[0]), step = this.width / BINS;
    series.forEach((values, index) => {
      let path = "";
      values.forEach((value, bin) => {
        if (value) path += `M${(bin * step).toFixed(1)} ${this.height}v${-Math.max(1, value / top * this.height).toFixed(1)}h${(step - .25).toFixed(2)}V${this.height}z`;
      });
      this.paths[index].setAttribute("d", path);
    });
  }
  line(values) {
    const top = Math.max(...values), step = this.width / BINS;
    let path = "", isDown = false;
    values.forEach((value, bin) => {
      if (value === null) { isDown = false; return; }
      const x = ((bin + .5) * step).toFixed(1), y = (this.height - value / top * (this.height - 2) - 1).toFixed(1);
      path += isDown ? `L${x} ${y}` : `M${x} ${y}h.01`;
      isDown = true;
    });
    this.paths[0].setAttribute("d", path);
  }
}

// Origins

const COLUMNS = [
  ["Origin", ""], ["Calls/s", "w-chart"], ["Good", "w-small"], ["p50", "w-time"], ["p99", "w-chart"], ["In flight", "w-limit"],
  ["Waiting", "w-small"], ["Attempts", "w-small"], ["Breaker", "w-breaker"], ["Budget", "w-small c-budget"],
];
byId("head").append(...COLUMNS.map(([name, width]) => element("th", { scope: "col", class: width }, name)));

class Row {
  constructor(id) {
    this.id = id; this.end = -1; this.calls = []; this.failed = []; this.p99 = [];
    this.name = element("b"); this.about = element("small");
    this.button = element("button", { type: "button", class: "open", "aria-expanded": "false" }, element("span", {}, this.name, this.about));
    this.button.addEventListener("click", () => this.toggle());
    this.rates = new Chart(88, 28, ["calls", "failed"]); this.times = new Chart(88, 28, ["p99"]);
    this.texts = COLUMNS.slice(1).map(() => element("span"));
    const cells = COLUMNS.slice(1).map(([label, kind], index) => {
      const chart = [this.rates, , , this.times][index], text = this.texts[index];
      const inner = chart ? element("div", { class: "chart" }, chart.node, text) : text;
      return element("td", { "data-label": label, class: (chart ? "wide " : "") + (kind.includes("c-budget") ? "c-budget" : "") }, inner);
    });
    this.node = element("tr", {}, element("td", {}, this.button), ...cells);
    this.panel = null;
  }
  take(row, second) {
    const { from, calls, failed, p99 } = row.series;
    if (from !== this.end) { this.calls = []; this.failed = []; this.p99 = []; }
    this.calls = this.calls.concat(calls).slice(-SECONDS);
    this.failed = this.failed.concat(failed).slice(-SECONDS);
    this.p99 = this.p99.concat(p99).slice(-SECONDS);
    this.end = second;
    this.row = row;
  }
  draw(clients) {
    const row = this.row, gates = row.gates, end = this.end;
    const name = plain(row.origin) + (clients.length > 1 ? " " : "");
    if (this.name.firstChild?.data !== name) {
      this.name.replaceChildren(name, ...(clients.length > 1 ? [element("i", {}, clients[row.client].name)] : []));
      this.button.title = row.origin;
    }
    const isWell = row.reasons.length === 0;
    say(this.about, isWell ? about(row) : row.reasons.join(" · "), isWell ? "" : row.health === "failing" ? "bad" : "warn");
    this.about.title = row.reasons.join(" · ");
    const [calls, good, p50, p99, flight, waiting, attempts, breaker, budget] = this.texts;
    say(calls, rate(row.rate)); say(good, share(row.good), grade(row.good)); say(p50, time(row.p50)); say(p99, time(row.p99));
    say(attempts, row.attempts === null ? NONE : row.attempts.toFixed(2), row.attempts >= 1.5 ? "warn" : "");
    if (gates) {
      say(flight, gates.max_concurrent === null ? NONE : `${count(gates.in_flight)} of ${count(gates.limit)}`);
      say(waiting, count(gates.waiting), gates.waiting ? "warn" : "quiet");
      say(breaker, gates.breaker, ["closed", "off"].includes(gates.breaker) ? "quiet" : gates.breaker === "forced closed" ? "warn" : "bad");
      say(budget, gates.budget === null ? NONE : count(Math.floor(gates.budget)), gates.budget !== null && gates.budget < 1 ? "warn" : "quiet");
    } else for (const text of [flight, waiting, breaker, budget]) say(text, NONE, "quiet");
    this.rates.bars(bins(this.calls, end, mean), bins(this.failed, end, mean));
    this.times.line(bins(this.p99, end, highest));
    if (this.panel) this.fill();
  }
  toggle() {
    const isOpen = !this.panel;
    this.button.setAttribute("aria-expanded", String(isOpen));
    if (isOpen) {
      this.why = element("p", { class: "why" });
      this.panel = element("div", { class: "panel" }, this.why);
      this.more = element("tr", { class: "more" }, element("td", { colspan: COLUMNS.length }, this.panel));
      this.groups = ["Bulkhead", "Breaker and budget", "Names", "Addresses"].map((title) => {
        const list = element(title === "Addresses" ? "ul" : "dl");
        this.panel.append(element("div", {}, element("h3", {}, title), list));
        return list;
      });
      if (allowed) this.panel.append(this.orders());
      this.node.after(this.more);
      this.fill();
    } else this.close();
  }
  close() { this.more?.remove(); this.more = this.panel = null; this.button.setAttribute("aria-expanded", "false"); }
  remove() { this.close(); this.node.remove(); }
  fill() {
    const { gates, dns, addresses, reasons } = this.row, [bulkhead, breaker, names, list] = this.groups;
    say(this.why, reasons.join(" · "));
    this.why.hidden = reasons.length === 0;
    pairs(bulkhead, gates ? [
      ["in flight", count(gates.in_flight)], ["limit now", count(gates.limit)], ["limit at most", count(gates.max_concurrent)],
      ["given up, still held", count(gates.ghosts)], ["waiting", count(gates.waiting)], ["connections", `${gates.connections}, ${gates.idle} idle`],
    ] : [["", "no state is kept"]]);
    pairs(breaker, gates ? [
      ["breaker", gates.breaker], ["next probe", gates.next_probe === null ? "held by hand" : gates.next_probe ? `in ${time(gates.next_probe)}` : NONE],
      ["retry budget", gates.budget === null ? "off" : `${gates.budget.toFixed(1)} of ${count(gates.max_budget)}`],
      ["taught rate", gates.rate === null ? "none" : `${gates.rate}/s, ${gates.limited} wait`],
      ["paused for", gates.paused_for ? time(gates.paused_for) : NONE], ["away for", gates.away_for ? time(gates.away_for) : NONE],
    ] : []);
    pairs(names, dns ? [
      ["last lookup", dns.duration === null ? NONE : time(dns.duration)], ["answer from", dns.source || NONE],
      ["TTL", dns.ttl === null ? NONE : `${Math.round(dns.ttl)} s`], ["error", dns.error || "none"],
      ["lookups", count(dns.misses)], ["from the cache", `${count(dns.hits)}, ${count(dns.stale)} stale`],
    ] : [["", "an address needs no lookup"]]);
    const wanted = addresses.length ? addresses : [{ address: "none was used yet", state: "" }];
    while (list.children.length > wanted.length) list.lastChild.remove();
    wanted.forEach(({ address, state }, index) => {
      const item = list.children[index] || list.appendChild(element("li", {}, element("span"), element("span")));
      say(item.firstChild, address);
      say(item.lastChild, state, state === "failing" ? "bad" : state === "ejected" ? "warn" : "quiet");
    });
  }
  orders() {
    const told = element("output", { class: "muted" });
    const button = (action, text) => {
      const made = element("button", { type: "button" }, text);
      made.addEventListener("click", async () => {
        try {
          const answer = await fetch("control", {
            method: "POST", headers: { "Content-Type": "application/json", "X-Seawall": "1" }, body: JSON.stringify({ id: this.id, action }),
          });
          told.textContent = answer.ok ? `the breaker is ${(await answer.json()).breaker}` : await answer.text();
        } catch { told.textContent = "the server doesn't answer"; }
      });
      return made;
    };
    return element("div", { class: "orders" }, button("force_open", "Force open"), button("force_closed", "Force closed"), button("reset", "Reset"), told);
  }
}
function about({ dns, addresses }) {
  const parts = addresses.slice(-3).map(({ address, state }) => state === "good" ? address : `${address} ${state}`);
  if (addresses.length > 3) parts.push(`${addresses.length - 3} more`);
  if (dns && dns.duration !== null) parts.push(`${dns.error ? `${dns.error} after` : "looked up in"} ${time(dns.duration)}`);
  return parts.join(" · ") || "\u00a0";
}
function pairs(list, wanted) {
  while (list.children.length > 2 * wanted.length) list.lastChild.remove();
  wanted.forEach(([term, text], index) => {
    if (!list.children[2 * index]) list.append(element("dt"), element("dd"));
    say(list.children[2 * index], term); say(list.children[2 * index + 1], text);
  });
}

// Failures

class Failure {
  constructor() {
    this.when = element("span", { class: "muted" }); this.what = element("span"); this.how = element("span", { class: "bad" }); this.tries = element("span", { class: "muted" });
    this.body = element("div", { class: "tries" });
    this.node = element("li", {}, element("details", {}, element("summary", {}, this.when, this.what, this.how, this.tries), this.body));
  }
  take(failure) {
    this.failure = failure;
    const { method, path, origin, outcome, count: times, attempts, duration, note } = failure;
    this.what.replaceChildren(`${method} ${plain(origin || "")}`, element("i", {}, path));
    this.what.title = `${method} ${origin || ""}${path}`;
    say(this.how, times > 1 ? `${outcome} × ${whole.format(times)}` : outcome, "bad");
    const isSent = attempts.some(({ phase }) => ["sending", "sent", "headers", "body"].includes(phase));
    say(this.tries, `${isSent ? plural(attempts.length, "attempt") : "not sent"}, ${time(duration)}`);
    const total = Math.max(1e-6, attempts.reduce((all, each) => all + each.delay + each.duration, 0));
    let at = 0;
    const list = element("ol", {}, ...attempts.map((each) => {
      const start = at + each.delay, line = timeline(at, start, each, total);
      at = start + each.duration;
      return element("li", {}, line, told(each));
    }));
    this.body.replaceChildren(list, ...(note ? [element("p", { class: "muted" }, note)] : []));
  }
}
function timeline(from, start, attempt, total) {
  const width = 220, x = (value) => value / total * width, marks = new Map(attempt.marks);
  const sent = marks.get("sending") ?? attempt.duration, isLost = !/^[1-4]/.test(attempt.outcome);
  const bar = (at, until, kind) => drawing("rect", { x: x(at), y: 2, width: Math.max(1, x(until - at)), height: 8, class: kind });
  return drawing("svg", { width, height: 12, viewBox: `0 0 ${width} 12`, "aria-hidden": "true" },
    drawing("line", { class: "delay", x1: x(from), x2: x(start), y1: 6, y2: 6 }),
    bar(start, start + sent, "ours"), ...(sent < attempt.duration ? [bar(start + sent, start + attempt.duration, isLost ? "lost" : "theirs")] : []));
}
const STEPS = { resolving: "DNS", connecting: "connect", tls: "TLS", sending: "send", sent: "server", headers: "headers", body: "body" };
function told(attempt) {
  const steps = attempt.marks.map(([phase, at], index, all) => [STEPS[phase], (all[index + 1]?.[1] ?? attempt.duration) - at])
    .filter(([name, took]) => name && took >= .0005).map(([name, took]) => `${name} ${time(took)}`);
  const facts = [
    attempt.delay ? `after ${time(attempt.delay)} of backoff` : "", ...attempt.queued.filter(([, waited]) => waited >= .0005).map(([gate, waited]) => `${time(waited)} at the ${gate}`),
    attempt.address ? `${attempt.address}${attempt.is_reused ? ", kept alive" : ""}` : "", ...steps, attempt.detail,
  ];
  return element("div", {}, `${attempt.number}. ${attempt.outcome} in ${time(attempt.duration)} `, element("small", {}, facts.filter(Boolean).join(" · ")));
}

// Frames

let allowed = false;
const FACTS = ["Calls/s", "Good", "In flight", "Connections", "Retry budget", "Refused locally"].map((term) => {
  const value = element("dd", {}, NONE);
  byId("facts").append(element("div", {}, element("dt", {}, term), value));
  return value;
});
function fact(index, text, of = "", kind = "") {
  const node = FACTS[index];
  if (node.textContent !== text + of) node.replaceChildren(text, ...(of ? [element("small", {}, of)] : []));
  node.className = kind;
}
const total = (list, pick) => list.reduce((all, each) => all + pick(each), 0);

function take(frame) {
  allowed = frame.can_control;
  clock = { at: frame.at, seen: performance.now() };
  if (frame.since === 0) for (const row of rows.values()) row.end = -1;
  const shown = new Set(frame.origins.map((row) => row.id));
  for (const [id, row] of rows) if (!shown.has(id)) { row.remove(); rows.delete(id); }
  for (const given of frame.origins) {
    if (!rows.has(given.id)) rows.set(given.id, new Row(given.id));
    const row = rows.get(given.id);
    row.take(given, frame.second);
    row.draw(frame.clients);
  }
  arrange(frame.origins.map((row) => rows.get(row.id)), frame.second);
  headline(frame);
  facts(frame);
  const isFiltered = byId("filter").value !== "" || byId("troubled").checked;
  say(byId("count"), frame.matching > frame.origins.length ? `${frame.origins.length} of ${plural(frame.matching, "origin")}` : plural(frame.matching, "origin"));
  say(byId("empty"), isFiltered ? "No origin matches." : "No origin has been called yet.");
  byId("empty").hidden = frame.origins.length > 0;
  byId("origins").hidden = frame.origins.length === 0;
  fail(frame);
}
let arranged = -Infinity;
function arrange(wanted, second) {  // rows stay where they are while somebody points at them, and else for ten seconds
  const body = byId("rows"), isNew = wanted.some((row) => !row.node.isConnected);
  const isBusy = body.matches(":hover") || body.contains(document.activeElement);
  if (!isNew && (isBusy || Math.abs(second - arranged) < STILL)) return;
  if (isNew && isBusy) wanted = wanted.filter((row) => row.node.isConnected).concat(wanted.filter((row) => !row.node.isConnected));
  else arranged = second;
  const nodes = wanted.flatMap((row) => row.more ? [row.node, row.more] : [row.node]);
  nodes.forEach((node, index) => { if (body.children[index] !== node) body.insertBefore(node, body.children[index] || null); });
}
function headline({ health: { failing, strained, well, idle }, clients }) {
  const all = failing + strained + well + idle, node = byId("state");
  let text = all === 0 ? "No calls yet" : well + idle === all ? (well ? (all === 1 ? "The origin is well" : `All ${all} origins are well`) : "No calls in five minutes") : "";
  if (!text) text = [failing ? `${failing} failing` : "", strained ? `${strained} strained` : ""].filter(Boolean).join(", ") + ` of ${plural(all, "origin")}`;
  const closed = clients.filter((each) => each.is_closed);
  if (closed.length) text += closed.length === clients.length ? " · closed" : ` · ${closed.map((each) => each.name).join(", ")} closed`;
  say(node, text);
  node.dataset.health = failing ? "failing" : strained ? "strained" : well ? "well" : "idle";
  document.title = failing ? `${failing} failing · seawall` : "seawall";
  say(byId("clients"), clients.map((each) => each.name).join(", "));
}
function facts({ origins, clients }) {
  const known = origins.filter((row) => row.good !== null && row.rate > 0), calls = total(known, (row) => row.rate);
  const good = calls ? total(known, (row) => row.good * row.rate) / calls : null;
  fact(0, rate(total(origins, (row) => row.rate)));
  fact(1, known.every((row) => row.good === 1) && known.length ? "100 %" : share(good === null ? null : Math.min(good, 0.9999)), "", grade(good));
  const waiting = total(clients, (each) => each.waiting) + total(origins, (row) => row.gates ? row.gates.waiting : 0);
  fact(2, count(total(clients, (each) => each.in_flight)), waiting ? ` ${count(waiting)} waiting` : "");
  const most = clients.some((each) => each.max_connections === null) ? null : total(clients, (each) => each.max_connections);
  fact(3, count(total(clients, (each) => each.connections)), ` of ${count(most)}`);
  const budgets = clients.map((each) => each.budget).filter((each) => each !== null);
  fact(4, budgets.length ? count(Math.floor(Math.min(...budgets))) : "off", budgets.length ? " tokens" : "");
  const refused = total(clients, (each) => total(Object.values(each.rejected), (value) => value));
  fact(5, count(refused), " in all");
}
let sorted = -Infinity;
function fail(frame) {
  const list = byId("failures"), isBusy = list.matches(":hover") || list.contains(document.activeElement);
  if (frame.since === 0) for (const each of failures.values()) each.isGone = true;
  let hasNew = false;
  for (const given of frame.failures) {
    const key = `${given.client} ${given.number}`, known = failures.get(key) || new Failure();
    hasNew ||= !failures.has(key);
    known.isGone = false;
    if (known.failure?.at !== given.at) known.take(given);
    failures.set(key, known);
  }
  const latest = [...failures].sort(([, a], [, b]) => b.failure.at - a.failure.at);
  latest.forEach(([key, each], index) => { if (each.isGone || index >= 20) { failures.delete(key); each.node.remove(); } });
  for (const each of failures.values()) say(each.when, ago(frame.at - each.failure.at));
  byId("none").hidden = failures.size > 0;
  if (!hasNew && (isBusy || Math.abs(frame.second - sorted) < STILL)) return;
  sorted = frame.second;
  [...failures.values()].sort((a, b) => b.failure.at - a.failure.at).forEach(({ node }, index) => {
    if (isBusy ? !node.isConnected : list.children[index] !== node) list.insertBefore(node, isBusy ? null : list.children[index] || null);
  });
}

// The stream

function link(state, text) { say(byId("link"), text); byId("link").dataset.state = state; }
function connect() {
  disconnect();
  const query = new URLSearchParams();
  if (byId("filter").value) query.set("filter", byId("filter").value);
  if (byId("troubled").checked) query.set("troubled", "1");
  source = new EventSource(`stream?${query}`);
  source.onmessage = (message) => { take(JSON.parse(message.data)); link("live", "live"); };
  source.addEventListener("again", connect);
  source.onerror = () => {
    const isClosed = source.readyState === EventSource.CLOSED;
    link("away", isClosed ? "no stream" : "reconnecting");
    byId("link").title = isClosed ? "The server refused the stream: it may have as many open as it allows." : "";
    if (isClosed) timer = setTimeout(connect, SLOW);
  };
}
function disconnect() { clearTimeout(timer); source?.close(); source = null; }
function again() { clearTimeout(timer); timer = setTimeout(() => { if (source || !isPaused) connect(); }, 250); }
let isPaused = false;
byId("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  byId("pause").setAttribute("aria-pressed", String(isPaused));
  say(byId("pause"), isPaused ? "Go on" : "Pause");
  if (isPaused) { disconnect(); link("paused", "paused"); } else connect();
});
byId("find").addEventListener("submit", (event) => event.preventDefault());
byId("filter").addEventListener("input", again);
byId("troubled").addEventListener("change", again);
document.addEventListener("visibilitychange", () => {  // a page that nobody sees leaves its stream to others
  if (document.hidden) disconnect(); else if (!isPaused) connect();
});
connect();
