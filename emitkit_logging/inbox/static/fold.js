// What a fold says: its template, its samples, and how its count grew.

import { copyable, draw, make } from "./dom.js";
import { formatDuration, formatNumber, formatTime } from "./format.js";
import { isMapping, tree } from "./values.js";

const WIDTH = 120;
const HEIGHT = 20;
const MASK = "…";

/** Return the number of log records that an event stands for; 0 if it is one record. */
export function occurrences(event) {
  const count = event.metadata.occurrences;
  return Number.isInteger(count) && count > 1 ? count : 0;
}

/** Return the title without the number of occurrences, which is shown beside it. */
export function titleOf(event) {
  const mark = ` (×${event.metadata.occurrences})`;
  return occurrences(event) && event.title.endsWith(mark) ? event.title.slice(0, -mark.length) : event.title;
}

/** Return the title, with its variable parts set apart where it is a template. */
export function templateElement(event) {
  const [first, ...rest] = titleOf(event).split(MASK);
  const parts = rest.flatMap((part) => [make("span", { class: "variable" }, MASK), part]);
  return make("code", { class: "template" }, first, ...parts);
}

/** Return first and last time of a fold in milliseconds, or `null`. */
export function period({ first_seen: first, last_seen: last }) {
  return typeof first === "number" && typeof last === "number" && last >= first ? { first, last } : null;
}

/** Return the points that are known of a fold: time in milliseconds, and how many records there were by then, at least. */
export function growth(metadata) {
  const times = period(metadata);
  if (!times) return [];
  const samples = Array.isArray(metadata.samples) ? metadata.samples : [];
  const known = samples.map((sample) => sample?.timestamp).filter((time) => time > times.first && time < times.last);
  const between = known.sort((a, b) => a - b).map((time, index) => ({ time, count: index + 2 }));
  return [{ time: times.first, count: 1 }, ...between, { time: times.last, count: metadata.occurrences }];
}

/** Return a small drawing of how the count grew from the first record to the last, or `null`. */
export function sparkline(event) {
  const points = occurrences(event) ? growth(event.metadata) : [];
  if (!points.length) return null;
  const { time: first } = points[0];
  const { time: last, count: most } = points.at(-1);
  const duration = last - first;
  const x = (time) => (duration ? ((time - first) / duration) * (WIDTH - 4) + 2 : WIDTH / 2);
  const y = (count) => HEIGHT - 2 - (Math.log(count) / Math.log(most)) * (HEIGHT - 4);
  const text = `${formatNumber(most)} in ${formatDuration(duration)}, from ${formatTime(first)} to ${formatTime(last)}`;
  return draw(
    "svg",
    { class: "sparkline", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, role: "img", "aria-label": text },
    draw("title", {}, text),
    draw("polyline", { points: points.map(({ time, count }) => `${x(time)},${y(count)}`).join(" ") }),
    ...points.map(({ time, count }) => draw("circle", { cx: x(time), cy: y(count), r: 1.5 })),
  );
}

/** Return one of the records that a fold or a digest stands for. */
export function sampleElement(sample) {
  if (!isMapping(sample)) return tree({ value: sample });
  const { title, description, exception, timestamp, ...rest } = sample;
  const { stacktrace, ...about } = isMapping(exception) ? exception : {};
  const more = exception === undefined ? rest : { ...rest, exception: isMapping(exception) ? about : exception };
  return make(
    "div",
    { class: "sample" },
    title === undefined ? null : make("strong", {}, String(title)),
    typeof timestamp === "number" ? make("span", { class: "at" }, formatTime(timestamp)) : null,
    description === undefined ? null : make("p", {}, String(description)),
    Object.keys(more).length ? tree(more) : null,
    typeof stacktrace === "string" ? copyable(stacktrace) : null,
  );
}
