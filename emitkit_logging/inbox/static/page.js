// The inbox's page: filters, keys and buttons.

import { channelOf, markRead, neighbour, showChannels } from "./channels.js";
import { byId, post } from "./dom.js";
import { connect, isAtTop, load, loadOlder, moveFocus } from "./feed.js";
import { updateAges } from "./format.js";
import { startRange } from "./range.js";
import { query, state } from "./state.js";

const SEARCH_DELAY = 150;
const UPDATE_AGES_EVERY = 30_000;
const LOAD_AHEAD = 600;
const TYPING = "input:not([type=checkbox]):not([type=radio]), textarea, select, dialog";

/** Apply the filters: to the address, to the channels and to the list. */
function filter() {
  const filters = query({ range: state.range, from: state.from, to: state.to });
  history.replaceState(null, "", filters.size ? `?${filters}` : location.pathname);
  scrollTo({ top: 0 });
  showChannels(state.channels);
  load();
}

/** Take the filters from the address. */
function restore() {
  const filters = new URLSearchParams(location.search);
  state.channel = filters.get("channel");
  state.level = filters.get("level") ?? "";
  state.text = filters.get("q") ?? "";
  state.range = filters.get("range") ?? "";
  state.from = filters.get("from") ?? "";
  state.to = filters.get("to") ?? "";
  byId("level").value = state.level;
  byId("search").value = state.text;
}

function choose(channel) {
  state.channel = channel;
  filter();
}

function clearSearch() {
  byId("search").value = "";
  document.activeElement?.blur();
  if (state.text) {
    state.text = "";
    filter();
  }
}

const KEYS = {
  "/": () => byId("search").focus(),
  j: () => moveFocus(1),
  ArrowDown: () => moveFocus(1),
  k: () => moveFocus(-1),
  ArrowUp: () => moveFocus(-1),
  o: () => document.activeElement?.closest(".event")?.querySelector(".head").click(),
  "]": () => choose(neighbour(1)),
  "[": () => choose(neighbour(-1)),
  "?": () => byId("keys").showModal(),
  Escape: clearSearch,
};

function onKey(event) {
  const typing = event.target.closest?.(TYPING);
  const isLeavingSearch = event.key === "Escape" && typing?.id === "search";
  if (event.ctrlKey || event.metaKey || event.altKey || (typing && !isLeavingSearch) || !Object.hasOwn(KEYS, event.key)) return;
  KEYS[event.key]();
  event.preventDefault();
}

function startFilters() {
  let timer = null;
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("search").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      state.text = byId("search").value.trim();
      filter();
    }, SEARCH_DELAY);
  });
  byId("level").addEventListener("change", () => {
    state.level = byId("level").value;
    filter();
  });
  startRange(filter);
  byId("channels").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) choose(channelOf(button));
  });
}

function startButtons() {
  byId("read").addEventListener("click", () => post("_inbox/read", { channel: null }));
  byId("clear").addEventListener("click", () => {
    if (confirm("Delete all events, channels and users?")) post("_inbox/clear", {});
  });
  byId("help").addEventListener("click", () => byId("keys").showModal());
  byId("more").addEventListener("click", loadOlder);
  byId("fresh").addEventListener("click", () => {
    scrollTo({ top: 0 });
    load();
  });
}

/** Open the event that the address names, as the `url` of its answer does. */
function openNamed() {
  const item = location.hash.startsWith("#event_") ? document.getElementById(location.hash.slice(1)) : null;
  item?.querySelector(".head").click();
  item?.scrollIntoView({ block: "center" });
}

function start() {
  restore();
  startFilters();
  startButtons();
  addEventListener("scroll", () => {
    if (isAtTop() && state.fresh) load();
    if (innerHeight + scrollY > document.documentElement.scrollHeight - LOAD_AHEAD) loadOlder();
  });
  addEventListener("keydown", onKey);
  document.addEventListener("visibilitychange", markRead);
  const base = new URL(".", document.baseURI).href.replace(/\/$/, "");
  byId("environment").textContent = `export EMITKIT_BASE_URL=${base}\nexport EMITKIT_API_KEY=emitkit_…`;
  setInterval(updateAges, UPDATE_AGES_EVERY);
  load().then(openNamed).then(connect);
}

start();
