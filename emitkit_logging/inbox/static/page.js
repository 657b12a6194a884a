// The inbox's page. All that was logged is put into the document as text, never as markup.

const MOST_ROWS = 300;
const PAGE = 50;
const TYPING = 150;
const SETTLING = 300;
const MINUTE = 60;

const byId = (id) => document.getElementById(id);
const list = byId("events");

const state = {
  channel: null,
  level: "",
  text: "",
  newest: 0,
  channels: [],
  fresh: 0,
  hasMore: false,
  isLoading: false,
  rows: new Map(),
};

/** Make an element. Children are nodes or text; `null` and `false` are left out. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

async function post(path, body) {
  return fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

// Times and numbers

const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "narrow" });
const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const counted = new Intl.NumberFormat();

function ago(moment) {
  const seconds = Math.round((moment - Date.now()) / 1000);
  if (seconds > -10) return "now";
  if (seconds > -MINUTE) return relative.format(seconds, "second");
  if (seconds > -60 * MINUTE) return relative.format(Math.round(seconds / MINUTE), "minute");
  if (seconds > -24 * 60 * MINUTE) return relative.format(Math.round(seconds / (60 * MINUTE)), "hour");
  return relative.format(Math.round(seconds / (24 * 60 * MINUTE)), "day");
}

function time(moment) {
  const date = new Date(moment);
  return make("time", { datetime: date.toISOString(), title: absolute.format(date) }, ago(date));
}

function tellTimes() {
  for (const element of document.querySelectorAll("time")) element.textContent = ago(new Date(element.dateTime));
}

// An event

function occurrences(event) {
  const count = event.metadata.occurrences;
  return Number.isInteger(count) && count > 1 ? count : 0;
}

function titleOf(event) {
  const mark = ` (×${event.metadata.occurrences})`;
  return occurrences(event) && event.title.endsWith(mark) ? event.title.slice(0, -mark.length) : event.title;
}

/** Return the row of an event, folded. */
function row(event) {
  const count = occurrences(event);
  const loud = ["WARNING", "ERROR", "CRITICAL"].includes(event.level);
  const detailsId = `details-${event.seq}`;
  const head = make(
    "button",
    { class: "head", type: "button", "aria-expanded": "false", "aria-controls": detailsId },
    make("span", { class: "icon", "aria-hidden": "true" }, event.icon || "•"),
    make("span", { class: "title" }, titleOf(event)),
    count ? make("span", { class: "badge", title: `stands for ${counted.format(count)} log records` }, `×${count}`) : null,
    loud ? make("span", { class: `level ${event.level}` }, event.level) : null,
    time(event.createdAt),
  );
  const about = make(
    "ul",
    { class: "about" },
    state.channel === null ? make("li", {}, `# ${event.channelName}`) : null,
    event.userId === null ? null : make("li", {}, `@ ${event.userId}`),
    ...event.tags.map((tag) => make("li", { class: "tag" }, tag)),
  );
  const body = make(
    "div",
    { class: "body" },
    event.description ? make("p", {}, event.description) : null,
    about.children.length ? about : null,
    question(event),
    make("div", { class: "details", id: detailsId, hidden: true }),
  );
  const waits = event.answer !== null && event.answer.status === "pending";
  const shape = ["event", event.displayAs === "message" ? "message" : "", waits ? "waits" : ""].filter(Boolean);
  const item = make("li", { class: shape.join(" "), "data-seq": event.seq, "data-level": event.level || "" }, head, body);
  head.addEventListener("click", () => unfold(item, event));
  return item;
}

function unfold(item, event, open) {
  const head = item.querySelector(".head");
  const details = item.querySelector(".details");
  const isOpen = open ?? head.getAttribute("aria-expanded") !== "true";
  head.setAttribute("aria-expanded", String(isOpen));
  details.hidden = !isOpen;
  if (isOpen && !details.hasChildNodes()) details.append(...parts(event));
}

/** Return all that an event says, for who wants to know. */
function parts(event) {
  const { digest, samples, exception, occurrences: count, first_seen: first, last_seen: last, ...rest } = event.metadata;
  const trace = isMapping(exception) ? exception.stacktrace : null;
  const told = isMapping(exception) ? Object.fromEntries(Object.entries(exception).filter(([name]) => name !== "stacktrace")) : exception;
  const since = typeof first === "number" && typeof last === "number" ? `${moment(first)} to ${moment(last)}` : null;
  return [
    typeof trace === "string" ? section("Traceback", make("pre", { tabindex: "0" }, trace)) : null,
    count === undefined ? null : section("Seen", make("p", {}, `${counted.format(count)} times${since ? `, ${since}` : ""}`)),
    isMapping(digest) ? section("Stands for", table(digest)) : null,
    Array.isArray(samples) ? section("Samples", ...samples.map((sample) => tree(sample))) : null,
    section("Metadata", tree({ ...rest, ...(told === undefined ? {} : { exception: told }) })),
    section(
      "Event",
      tree({
        id: event.id,
        createdAt: event.createdAt,
        channel: event.channelName,
        source: event.source,
        notify: event.notify,
        displayAs: event.displayAs,
        ...(event.idempotencyKey === null ? {} : { idempotencyKey: event.idempotencyKey }),
        ...(event.callback === null ? {} : { callback: event.callback }),
        ...(event.resume === null ? {} : { resume: event.resume }),
      }),
    ),
  ].filter(Boolean);
}

function section(title, ...content) {
  return make("section", {}, make("h3", {}, title), ...content);
}

function moment(milliseconds) {
  const date = new Date(milliseconds);
  return Number.isNaN(date.getTime()) ? String(milliseconds) : absolute.format(date);
}

const isMapping = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** Return a value as a tree of names and values. */
function tree(value, depth = 0) {
  const entries = Object.entries(value ?? {});
  if (!entries.length) return make("pre", {}, "{}");
  const terms = entries.flatMap(([name, each]) => [make("dt", {}, name), make("dd", {}, leaf(each, depth))]);
  return make("dl", { class: depth ? "" : "tree" }, ...terms);
}

function leaf(value, depth) {
  if (typeof value === "object" && value !== null && Object.keys(value).length) {
    return depth < 6 ? tree(value, depth + 1) : JSON.stringify(value, null, 1);
  }
  if (typeof value === "string") return value === "" ? "“”" : value;
  return make("span", { class: "number" }, JSON.stringify(value));
}

function table(counts) {
  const rows = Object.entries(counts).map(([name, count]) =>
    make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, typeof count === "number" ? counted.format(count) : String(count))),
  );
  return make("table", {}, make("tbody", {}, ...rows));
}

// Questions

function question(event) {
  const links = event.actions.filter((action) => "url" in action).map(link);
  if (event.answer === null) return links.length ? make("div", { class: "buttons" }, ...links) : null;
  if (event.answer.status !== "pending") return make("div", {}, outcome(event), make("div", { class: "buttons" }, ...links));
  const form = make("form", { class: "question" });
  const inputs = event.fields.map((field) => fieldOf(field, `${event.seq}-${field.id}`));
  const buttons = event.actions.filter((action) => "id" in action);
  const wrong = make("p", { class: "wrong", role: "alert" });
  const pressed = buttons.length ? buttons : [{ id: "submit", label: "Send", style: "primary" }];
  const keys = pressed.map((action) =>
    make("button", { type: "button", class: action.style || "", onclick: () => answer(event, form, action, inputs, wrong) }, action.label),
  );
  const enable = () => {
    const values = valuesOf(inputs);
    pressed.forEach((action, index) => {
      keys[index].disabled = (action.requires || []).some((name) => !values[name] || !values[name].length);
    });
  };
  form.addEventListener("input", enable);
  form.addEventListener("submit", (submitted) => {
    submitted.preventDefault();
    if (pressed.length === 1 && !keys[0].disabled) keys[0].click();
  });
  form.append(...inputs.map((input) => input.element), make("div", { class: "buttons" }, ...keys, ...links), wrong);
  enable();
  return form;
}

function link(action) {
  let url = null;
  try {
    url = new URL(action.url);
  } catch {
    // not a link, then
  }
  if (url === null || !["http:", "https:"].includes(url.protocol)) return make("span", {}, `${action.label}: ${action.url}`);
  return make("a", { href: url.href, target: "_blank", rel: "noopener noreferrer" }, action.label);
}

function outcome(event) {
  const { status, action, values, at } = event.answer;
  const pressed = event.actions.find((each) => each.id === action);
  const said = status === "answered" ? `Answered: ${pressed ? pressed.label : "sent"}` : `The question was ${status}`;
  const line = make("p", {}, make("strong", {}, said), " · ", at ? time(at) : "");
  return make("div", {}, line, values && Object.keys(values).length ? tree(values) : null);
}

/** Return a field's element, and how to read its value. */
function fieldOf(field, id) {
  if (field.type === "choice") return choice(field, id);
  if (field.type === "boolean") {
    const input = make("input", { type: "checkbox", id });
    input.checked = field.default === true;
    return { id: field.id, element: make("label", { class: "choice" }, input, field.label), read: () => input.checked };
  }
  const tag = field.multiline ? "textarea" : "input";
  const input = make(tag, {
    id,
    type: field.multiline ? null : field.type === "number" ? "number" : "text",
    maxlength: field.maxLength,
    placeholder: field.placeholder,
    min: field.min,
    max: field.max,
    step: field.type === "number" ? field.step ?? "any" : null,
  });
  input.value = field.default ?? "";
  const read = () => (input.value === "" ? null : field.type === "number" ? Number(input.value) : input.value);
  const unit = field.unit ? make("span", { class: "unit" }, ` ${field.unit}`) : null;
  const label = make("label", { class: "label", for: id }, field.label);
  return { id: field.id, element: make("div", { class: "field" }, label, make("span", {}, input, unit)), read };
}

function choice(field, id) {
  const chosen = [field.default ?? []].flat();
  const inputs = field.options.map((option) => {
    const input = make("input", { type: field.multiple ? "checkbox" : "radio", name: id, value: option.id });
    input.checked = chosen.includes(option.id);
    return input;
  });
  const labels = field.options.map((option, index) => make("label", { class: "choice" }, inputs[index], option.label));
  const read = () => {
    const values = inputs.filter((input) => input.checked).map((input) => input.value);
    return field.multiple ? values : values[0] ?? null;
  };
  return { id: field.id, element: make("fieldset", {}, make("legend", {}, field.label), ...labels), read };
}

function valuesOf(inputs) {
  return Object.fromEntries(inputs.map((input) => [input.id, input.read()]));
}

async function answer(event, form, action, inputs, wrong) {
  const values = Object.fromEntries(Object.entries(valuesOf(inputs)).filter(([, value]) => value !== null));
  const response = await post(`_inbox/events/${encodeURIComponent(event.id)}/answer`, { action: action.id, values });
  const told = await response.json().catch(() => ({ error: `The inbox answered ${response.status}` }));
  if (response.ok) replace(told);
  else wrong.textContent = [told.error, ...(told.details || []).map((each) => `${each.path.slice(1).join(" ")}: ${each.message}`)].join(" · ");
}

// The list

function replace(event) {
  const known = state.rows.get(event.seq);
  if (!known) return;
  const isOpen = known.querySelector(".head").getAttribute("aria-expanded") === "true";
  const hadFocus = known.contains(document.activeElement);
  const item = row(event);
  known.replaceWith(item);
  state.rows.set(event.seq, item);
  if (isOpen) unfold(item, event, true);
  if (hadFocus) item.querySelector(".head").focus();
}

function prepend(events) {
  for (const event of events) {
    if (state.rows.has(event.seq)) continue;
    const item = row(event);
    item.classList.add("new");
    state.rows.set(event.seq, item);
    list.prepend(item);
  }
  while (list.children.length > MOST_ROWS) {
    const last = list.lastElementChild;
    state.rows.delete(Number(last.dataset.seq));
    last.remove();
    state.hasMore = true;
  }
}

function append(events) {
  for (const event of events) {
    if (state.rows.has(event.seq)) continue;
    const item = row(event);
    state.rows.set(event.seq, item);
    list.append(item);
  }
}

function query(more = {}) {
  const asked = { channel: state.channel, level: state.level, q: state.text, ...more };
  return new URLSearchParams(Object.entries(asked).filter(([, value]) => value !== null && value !== "" && value !== undefined));
}

let latest = 0;

/** Ask for the newest events that fit the filters, and show them instead of what is there. */
async function load() {
  const asked = ++latest;
  const answered = await fetch(`_inbox/feed?${query({ limit: PAGE })}`).then((response) => response.json()).catch(() => null);
  if (answered === null || asked !== latest) return;
  const opened = new Set([...list.children].filter((item) => item.querySelector("[aria-expanded=true]")).map((item) => Number(item.dataset.seq)));
  const focused = Number(document.activeElement?.closest(".event")?.dataset.seq);
  state.rows.clear();
  list.replaceChildren();
  append(answered.events);
  for (const event of answered.events) if (opened.has(event.seq)) unfold(state.rows.get(event.seq), event, true);
  state.rows.get(focused)?.querySelector(".head").focus({ preventScroll: true });
  state.hasMore = answered.more;
  state.newest = Math.max(state.newest, answered.newest);
  showFresh(0);
  showFaults(answered.faults);
  showChannels(answered.channels);
  showEnds();
  markRead();
}

async function loadOlder() {
  const last = list.lastElementChild;
  if (!state.hasMore || state.isLoading || !last || list.children.length >= MOST_ROWS * 10) return;
  state.isLoading = true;
  try {
    const asked = latest;
    const answered = await fetch(`_inbox/feed?${query({ limit: PAGE, before: last.dataset.seq })}`).then((response) => response.json());
    if (asked !== latest) return;
    append(answered.events);
    state.hasMore = answered.more;
    showEnds();
  } catch {
    // the stream says that the inbox is away
  } finally {
    state.isLoading = false;
  }
}

function showEnds() {
  byId("more").hidden = !state.hasMore;
  const isEmpty = list.children.length === 0;
  const isFiltered = Boolean(state.channel || state.level || state.text);
  byId("empty").hidden = !isEmpty;
  byId("setup").hidden = isFiltered;
  byId("empty").querySelector("h2").textContent = isFiltered ? "Nothing fits" : "Nothing has arrived yet";
}

function showFresh(count) {
  state.fresh = count;
  byId("fresh").hidden = count === 0;
  byId("fresh").textContent = `${counted.format(count)} new event${count === 1 ? "" : "s"} ↑`;
}

function showFaults(faults) {
  byId("faults").hidden = faults.length === 0;
  byId("faults").textContent = `Trouble was asked for: ${faults.join(" · ")}`;
}

// Channels

function showChannels(channels) {
  state.channels = channels;
  const unread = channels.reduce((sum, channel) => sum + channel.unread, 0);
  document.title = unread ? `(${counted.format(unread)}) EmitKit inbox` : "EmitKit inbox";
  const focused = document.activeElement?.closest("#channels button")?.dataset.channel;
  const entries = [{ name: null, icon: "📥", unread }, ...channels];
  byId("channels").replaceChildren(...entries.map((channel) => make("li", {}, channelButton(channel))));
  if (focused !== undefined) [...byId("channels").querySelectorAll("button")].find((button) => button.dataset.channel === focused)?.focus();
}

function channelButton({ name, icon, unread }) {
  return make(
    "button",
    { type: "button", "data-channel": name === null ? "" : `#${name}`, "aria-current": name === state.channel ? "true" : null, onclick: () => choose(name) },
    make("span", { class: "icon", "aria-hidden": "true" }, icon || "#"),
    make("span", { class: "name", title: name ?? "" }, name ?? "All"),
    unread ? make("span", { class: "count", "aria-label": `${unread} unread` }, counted.format(unread)) : null,
  );
}

function choose(name) {
  state.channel = name;
  filter();
}

function step(by) {
  const names = [null, ...state.channels.map((channel) => channel.name)];
  choose(names[(names.indexOf(state.channel) + by + names.length) % names.length]);
}

/** What is looked at in its own channel is read. */
function markRead() {
  const shown = state.channels.find((channel) => channel.name === state.channel);
  if (shown && shown.unread && document.visibilityState === "visible") post("_inbox/read", { channel: shown.name }).catch(() => {});
}

// Filters

function filter() {
  const asked = query();
  history.replaceState(null, "", asked.size ? `?${asked}` : location.pathname);
  scrollTo({ top: 0 });
  showChannels(state.channels);
  load();
}

function restore() {
  const asked = new URLSearchParams(location.search);
  state.channel = asked.get("channel");
  state.level = asked.get("level") ?? "";
  state.text = asked.get("q") ?? "";
  byId("level").value = state.level;
  byId("search").value = state.text;
}

const LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"];

function fits(event) {
  if (state.channel !== null && event.channelName !== state.channel) return false;
  return !state.level || LEVELS.indexOf(event.level) >= LEVELS.indexOf(state.level);
}

// What is new

let settling = null;

/** Load soon, but not for each of many messages. */
function loadSoon() {
  settling ??= setTimeout(() => {
    settling = null;
    load();
  }, SETTLING);
}

function take(news, seq) {
  state.newest = Math.max(state.newest, seq);
  if (news.cleared) {
    loadSoon();
    return;
  }
  showChannels(news.channels);
  news.changed.forEach(replace);
  const fitting = news.events.filter(fits);
  const arrived = fitting.length + news.missed;
  if (!arrived) return;
  if (scrollY > 80) showFresh(state.fresh + arrived);
  else if (state.text || news.missed) loadSoon();
  else prepend(fitting);
  showEnds();
  byId("status").textContent = `${arrived} new`;
  markRead();
}

function connect() {
  const stream = new EventSource(`_inbox/stream?after=${state.newest}`);
  stream.addEventListener("open", () => {
    if (!byId("lost").hidden) loadSoon();
    byId("lost").hidden = true;
  });
  stream.addEventListener("news", (message) => take(JSON.parse(message.data), Number(message.lastEventId)));
  stream.addEventListener("error", () => {
    byId("lost").hidden = false;
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, 1000);
  });
}

// Keys

function move(by) {
  const items = [...list.children];
  const current = items.indexOf(document.activeElement?.closest(".event"));
  const next = items[current < 0 ? 0 : Math.min(Math.max(current + by, 0), items.length - 1)];
  next?.querySelector(".head").focus();
  next?.scrollIntoView({ block: "nearest" });
}

function press(key) {
  const keys = {
    "/": () => byId("search").focus(),
    j: () => move(1),
    ArrowDown: () => move(1),
    k: () => move(-1),
    ArrowUp: () => move(-1),
    o: () => document.activeElement?.closest(".event")?.querySelector(".head").click(),
    "]": () => step(1),
    "[": () => step(-1),
    "?": () => byId("keys").showModal(),
    Escape: clearSearch,
  };
  if (!(key in keys)) return false;
  keys[key]();
  return true;
}

function clearSearch() {
  byId("search").value = "";
  document.activeElement?.blur();
  if (state.text) {
    state.text = "";
    filter();
  }
}

function start() {
  restore();
  let typing = null;
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("search").addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => {
      state.text = byId("search").value.trim();
      filter();
    }, TYPING);
  });
  byId("level").addEventListener("change", () => {
    state.level = byId("level").value;
    filter();
  });
  byId("read").addEventListener("click", () => post("_inbox/read", { channel: null }));
  byId("clear").addEventListener("click", () => {
    if (confirm("Forget all events, channels and users?")) post("_inbox/clear", {});
  });
  byId("help").addEventListener("click", () => byId("keys").showModal());
  byId("more").addEventListener("click", loadOlder);
  byId("fresh").addEventListener("click", () => {
    scrollTo({ top: 0 });
    load();
  });
  addEventListener("scroll", () => {
    if (scrollY <= 80 && state.fresh) load();
    if (innerHeight + scrollY > document.documentElement.scrollHeight - 600) loadOlder();
  });
  addEventListener("keydown", (event) => {
    const isTyping = event.target.closest?.("input:not([type=checkbox]):not([type=radio]), textarea, select, dialog");
    if (event.ctrlKey || event.metaKey || event.altKey || (isTyping && !(event.key === "Escape" && isTyping.id === "search"))) return;
    if (press(event.key)) event.preventDefault();
  });
  document.addEventListener("visibilitychange", markRead);
  const base = new URL(".", document.baseURI).href.replace(/\/$/, "");
  byId("environment").textContent = `export EMITKIT_BASE_URL=${base}\nexport EMITKIT_API_KEY=emitkit_…`;
  setInterval(tellTimes, MINUTE * 500);
  load().then(connect);
}

start();
