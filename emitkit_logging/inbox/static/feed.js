// The list of events: loaded, continued at its end, and kept current by the stream.

import { markRead, showChannels } from "./channels.js";
import { byId } from "./dom.js";
import { eventRow, isOpen, toggle } from "./event.js";
import { formatNumber } from "./format.js";
import { isInRange, rangeParameters } from "./range.js";
import { isFiltered, matches, query, state } from "./state.js";

const PAGE = 50;
const MOST_LIVE_ROWS = 300;
const MOST_ROWS = 3000;
const NEAR_TOP = 80;
const LOAD_DELAY = 300;
const RECONNECT_DELAY = 1000;

const list = byId("events");
let latestLoad = 0;
let loadTimer = null;

function newRow(event) {
  return eventRow(event, { showsChannel: state.channel === null, onAnswered: replace });
}

/** Show an event that has changed, if it is in the list. */
function replace(event) {
  const old = state.rows.get(event.seq);
  if (!old) return;
  const hadFocus = old.contains(document.activeElement);
  const item = newRow(event);
  old.replaceWith(item);
  state.rows.set(event.seq, item);
  if (isOpen(old)) toggle(item, event, true);
  if (hadFocus) item.querySelector(".head").focus();
}

function prepend(events) {
  for (const event of events) {
    if (state.rows.has(event.seq)) continue;
    const item = newRow(event);
    item.classList.add("new");
    state.rows.set(event.seq, item);
    list.prepend(item);
  }
  while (list.children.length > MOST_LIVE_ROWS) {
    const last = list.lastElementChild;
    state.rows.delete(Number(last.dataset.seq));
    last.remove();
    state.hasMore = true;
  }
}

function append(events) {
  for (const event of events) {
    if (state.rows.has(event.seq)) continue;
    const item = newRow(event);
    state.rows.set(event.seq, item);
    list.append(item);
  }
}

async function request(more) {
  const response = await fetch(`_inbox/feed?${query({ ...rangeParameters(), ...more })}`);
  return response.json();
}

/** Load the newest events that match the filters, and show them instead of the current list. */
export async function load() {
  const number = ++latestLoad;
  const loaded = await request({ limit: PAGE }).catch(() => null);
  if (loaded === null || number !== latestLoad) return;
  const open = new Set([...list.children].filter(isOpen).map((item) => Number(item.dataset.seq)));
  const focused = Number(document.activeElement?.closest(".event")?.dataset.seq);
  state.rows.clear();
  list.replaceChildren();
  append(loaded.events);
  for (const event of loaded.events) if (open.has(event.seq)) toggle(state.rows.get(event.seq), event, true);
  state.rows.get(focused)?.querySelector(".head").focus({ preventScroll: true });
  state.hasMore = loaded.more;
  state.newest = Math.max(state.newest, loaded.newest);
  showFresh(0);
  showFaults(loaded.faults);
  showChannels(loaded.channels);
  showEnds();
  markRead();
}

/** Load soon, once for many messages. */
function loadSoon() {
  loadTimer ??= setTimeout(() => {
    loadTimer = null;
    load();
  }, LOAD_DELAY);
}

export async function loadOlder() {
  const last = list.lastElementChild;
  if (!state.hasMore || state.isLoading || !last || list.children.length >= MOST_ROWS) return;
  state.isLoading = true;
  try {
    const number = latestLoad;
    const loaded = await request({ limit: PAGE, before: last.dataset.seq });
    if (number !== latestLoad) return;
    append(loaded.events);
    state.hasMore = loaded.more;
    showEnds();
  } catch {
    // the stream shows that the connection is lost
  } finally {
    state.isLoading = false;
  }
}

function showEnds() {
  byId("more").hidden = !state.hasMore;
  byId("empty").hidden = list.children.length > 0;
  byId("setup").hidden = isFiltered();
  byId("empty").querySelector("h2").textContent = isFiltered() ? "No matching events" : "No events yet";
}

function showFresh(count) {
  state.fresh = count;
  byId("fresh").hidden = count === 0;
  byId("fresh").textContent = `${formatNumber(count)} new event${count === 1 ? "" : "s"} ↑`;
}

function showFaults(faults) {
  byId("faults").hidden = faults.length === 0;
  byId("faults").textContent = `Faults in force: ${faults.join(" · ")}`;
}

/** Show what is new. `seq` is the number of the newest event. */
function update(news, seq) {
  state.newest = Math.max(state.newest, seq);
  if (news.cleared) {
    loadSoon();
    return;
  }
  showChannels(news.channels);
  news.changed.forEach(replace);
  const matching = news.events.filter((event) => matches(event) && isInRange(event));
  const arrived = matching.length + news.missed;
  if (!arrived) return;
  if (!isAtTop()) showFresh(state.fresh + arrived);
  else if (state.text || news.missed) loadSoon();
  else prepend(matching);
  showEnds();
  byId("status").textContent = `${arrived} new`;
  markRead();
}

export const isAtTop = () => scrollY <= NEAR_TOP;

/** Open the stream of what is new. The browser reconnects by itself, unless the inbox refuses the connection. */
export function connect() {
  const stream = new EventSource(`_inbox/stream?after=${state.newest}`);
  stream.addEventListener("open", () => {
    if (!byId("lost").hidden) loadSoon();
    byId("lost").hidden = true;
  });
  stream.addEventListener("news", (message) => update(JSON.parse(message.data), Number(message.lastEventId)));
  stream.addEventListener("error", () => {
    byId("lost").hidden = false;
    if (stream.readyState === EventSource.CLOSED) setTimeout(connect, RECONNECT_DELAY);
  });
}

/** Focus the event that is `by` rows after the focused one. */
export function moveFocus(by) {
  const items = [...list.children];
  const current = items.indexOf(document.activeElement?.closest(".event"));
  const next = items[current < 0 ? 0 : Math.min(Math.max(current + by, 0), items.length - 1)];
  next?.querySelector(".head").focus();
  next?.scrollIntoView({ block: "nearest" });
}
