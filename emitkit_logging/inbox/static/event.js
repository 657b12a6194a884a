// The row of an event, and its details.

import { copyable, make, post } from "./dom.js";
import { occurrences, period, sampleElement, sparkline, templateElement, titleOf } from "./fold.js";
import { formatDuration, formatNumber, formatTime, timeElement } from "./format.js";
import { question } from "./question.js";
import { isMapping, table, tree } from "./values.js";

const LONG_TEXT = 320;
const LONG_LINES = 4;
const LATE = 2000;
const SHOWN_LEVELS = ["WARNING", "ERROR", "CRITICAL"];

/** Return the row of an event, closed. `onAnswered` gets the event when its question was answered here. */
export function eventRow(event, { showsChannel, onAnswered }) {
  const detailsId = `details-${event.seq}`;
  const head = headOf(event, detailsId);
  const about = aboutOf(event, showsChannel);
  const body = make(
    "div",
    { class: "body" },
    event.description ? descriptionOf(event.description) : null,
    sparkline(event),
    about.children.length ? about : null,
    question(event, onAnswered),
    make("div", { class: "details", id: detailsId, hidden: true }),
  );
  const waits = event.answer !== null && event.answer.status === "pending";
  const classes = ["event", event.displayAs === "message" ? "message" : "", waits ? "waits" : ""].filter(Boolean);
  const item = make(
    "li",
    { id: event.id, class: classes.join(" "), "data-seq": event.seq, "data-level": event.level || "", "data-unread": event.isUnread },
    head,
    body,
  );
  head.addEventListener("click", () => toggle(item, event));
  return item;
}

function headOf(event, detailsId) {
  const count = occurrences(event);
  const isShownLevel = SHOWN_LEVELS.includes(event.level);
  return make(
    "button",
    { class: "head", type: "button", "aria-expanded": "false", "aria-controls": detailsId },
    make("span", { class: "icon", "aria-hidden": "true" }, event.icon || "•"),
    make("span", { class: "title" }, titleOf(event)),
    count ? make("span", { class: "badge", title: `stands for ${formatNumber(count)} log records` }, `×${count}`) : null,
    isShownLevel ? make("span", { class: `level ${event.level}` }, event.level) : null,
    event.notify ? make("span", { class: "pushed", role: "img", title: "pushed", "aria-label": "pushed" }, "🔔") : null,
    timeElement(event.createdAt),
  );
}

/** Return a description, of which a long one shows its beginning and a button. */
function descriptionOf(text) {
  const paragraph = make("p", { class: "description" }, text);
  if (text.length <= LONG_TEXT && text.split("\n").length <= LONG_LINES) return paragraph;
  paragraph.classList.add("collapsed");
  const button = make("button", { class: "unfold", type: "button", "aria-expanded": "false" }, "Show all");
  button.addEventListener("click", () => {
    const isCollapsed = paragraph.classList.toggle("collapsed");
    button.setAttribute("aria-expanded", String(!isCollapsed));
    button.textContent = isCollapsed ? "Show all" : "Show less";
  });
  return make("div", {}, paragraph, button);
}

/** Return when it happened, in milliseconds, or `null`: of a fold, when the first of its records did. */
function happenedAt({ metadata }) {
  const times = period(metadata);
  if (times) return times.first;
  return typeof metadata.timestamp === "number" ? metadata.timestamp : null;
}

function aboutOf(event, showsChannel) {
  const happened = happenedAt(event);
  const isLate = happened !== null && new Date(event.createdAt) - happened >= LATE;
  return make(
    "ul",
    { class: "about" },
    showsChannel ? make("li", {}, `# ${event.channelName}`) : null,
    event.userId === null ? null : make("li", {}, `@ ${event.userId}`),
    ...event.tags.map((tag) => make("li", { class: "tag" }, tag)),
    isLate ? make("li", { class: "happened" }, "happened ", timeElement(happened), ", arrived ", timeElement(event.createdAt)) : null,
  );
}

export const isOpen = (item) => item.querySelector(".head").getAttribute("aria-expanded") === "true";

/** Open or close the details of a row; by default it gets the other state. */
export function toggle(item, event, opens = !isOpen(item)) {
  const details = item.querySelector(".details");
  item.querySelector(".head").setAttribute("aria-expanded", String(opens));
  details.hidden = !opens;
  if (opens && "unread" in item.dataset) markRead(item, event);
  if (opens && !details.hasChildNodes()) details.append(...sections(event));
}

function markRead(item, event) {
  delete item.dataset.unread;
  post("_inbox/read", { event: event.id }).catch(() => (item.dataset.unread = ""));
}

/** Return everything that an event has, as sections. */
function sections(event) {
  const { digest, samples, exception, occurrences: count, first_seen: _first, last_seen: _last, ...rest } = event.metadata;
  const { stacktrace, ...otherParts } = isMapping(exception) ? exception : {};
  const metadata = exception === undefined ? rest : { ...rest, exception: isMapping(exception) ? otherParts : exception };
  return [
    typeof stacktrace === "string" ? section("Traceback", copyable(stacktrace)) : null,
    occurrences(event) && !isMapping(digest) ? section("Template", templateElement(event)) : null,
    count === undefined ? null : section("Seen", make("p", {}, `${formatNumber(count)} times${periodText(event.metadata)}`)),
    isMapping(digest) ? section("Events by name", table(digest)) : null,
    Array.isArray(samples) ? section("Samples", ...samples.map(sampleElement)) : null,
    section("Times", make("p", {}, timesText(event))),
    section("Metadata", tree(metadata)),
    section("Event", tree(ownFields(event))),
  ].filter(Boolean);
}

function periodText(metadata) {
  const times = period(metadata);
  return times ? `, ${formatTime(times.first)} to ${formatTime(times.last)}` : "";
}

function timesText(event) {
  const arrived = `arrived ${formatTime(event.createdAt)}`;
  const happened = happenedAt(event);
  if (happened === null) return arrived;
  const delay = formatDuration(Math.max(0, new Date(event.createdAt) - happened));
  return `happened ${formatTime(happened)}, ${arrived}: ${delay} later`;
}

function ownFields(event) {
  const optional = Object.entries({ idempotencyKey: event.idempotencyKey, callback: event.callback, resume: event.resume });
  return {
    id: event.id,
    createdAt: event.createdAt,
    channel: event.channelName,
    source: event.source,
    notify: event.notify,
    displayAs: event.displayAs,
    ...Object.fromEntries(optional.filter(([, value]) => value !== null)),
  };
}

function section(title, ...content) {
  return make("section", {}, make("h3", {}, title), ...content);
}
