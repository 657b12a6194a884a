// The row of an event, and its details.

import { make } from "./dom.js";
import { formatNumber, formatTime, timeElement } from "./format.js";
import { question } from "./question.js";
import { isMapping, table, tree } from "./values.js";

const SHOWN_LEVELS = ["WARNING", "ERROR", "CRITICAL"];

function occurrences(event) {
  const count = event.metadata.occurrences;
  return Number.isInteger(count) && count > 1 ? count : 0;
}

/** Return the title without the number of occurrences, which is shown beside it. */
function titleOf(event) {
  const mark = ` (×${event.metadata.occurrences})`;
  return occurrences(event) && event.title.endsWith(mark) ? event.title.slice(0, -mark.length) : event.title;
}

/** Return the row of an event, closed. `onAnswered` gets the event when its question was answered here. */
export function eventRow(event, { showsChannel, onAnswered }) {
  const detailsId = `details-${event.seq}`;
  const head = headOf(event, detailsId);
  const about = aboutOf(event, showsChannel);
  const body = make(
    "div",
    { class: "body" },
    event.description ? make("p", {}, event.description) : null,
    about.children.length ? about : null,
    question(event, onAnswered),
    make("div", { class: "details", id: detailsId, hidden: true }),
  );
  const waits = event.answer !== null && event.answer.status === "pending";
  const classes = ["event", event.displayAs === "message" ? "message" : "", waits ? "waits" : ""].filter(Boolean);
  const item = make("li", { id: event.id, class: classes.join(" "), "data-seq": event.seq, "data-level": event.level || "" }, head, body);
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
    timeElement(event.createdAt),
  );
}

function aboutOf(event, showsChannel) {
  return make(
    "ul",
    { class: "about" },
    showsChannel ? make("li", {}, `# ${event.channelName}`) : null,
    event.userId === null ? null : make("li", {}, `@ ${event.userId}`),
    ...event.tags.map((tag) => make("li", { class: "tag" }, tag)),
  );
}

export const isOpen = (item) => item.querySelector(".head").getAttribute("aria-expanded") === "true";

/** Open or close the details of a row; by default it gets the other state. */
export function toggle(item, event, opens = !isOpen(item)) {
  const details = item.querySelector(".details");
  item.querySelector(".head").setAttribute("aria-expanded", String(opens));
  details.hidden = !opens;
  if (opens && !details.hasChildNodes()) details.append(...sections(event));
}

/** Return everything that an event has, as sections. */
function sections(event) {
  const { digest, samples, exception, occurrences: count, first_seen: first, last_seen: last, ...rest } = event.metadata;
  const { stacktrace, ...otherParts } = isMapping(exception) ? exception : {};
  const metadata = exception === undefined ? rest : { ...rest, exception: isMapping(exception) ? otherParts : exception };
  const period = typeof first === "number" && typeof last === "number" ? `, ${formatTime(first)} to ${formatTime(last)}` : "";
  return [
    typeof stacktrace === "string" ? section("Traceback", make("pre", { tabindex: "0" }, stacktrace)) : null,
    count === undefined ? null : section("Seen", make("p", {}, `${formatNumber(count)} times${period}`)),
    isMapping(digest) ? section("Events by name", table(digest)) : null,
    Array.isArray(samples) ? section("Samples", ...samples.map((sample) => tree(sample))) : null,
    section("Metadata", tree(metadata)),
    section("Event", tree(ownFields(event))),
  ].filter(Boolean);
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
