// JSON values as elements.

import { make } from "./dom.js";
import { formatNumber } from "./format.js";

const DEEPEST = 6;

export const isMapping = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** Return a value as a tree of names and values. */
export function tree(value, depth = 0) {
  const entries = Object.entries(value ?? {});
  if (!entries.length) return make("pre", {}, "{}");
  const terms = entries.flatMap(([name, each]) => [make("dt", {}, name), make("dd", {}, leaf(each, depth))]);
  return make("dl", { class: depth ? "" : "tree" }, ...terms);
}

function leaf(value, depth) {
  if (typeof value === "object" && value !== null && Object.keys(value).length) {
    return depth < DEEPEST ? tree(value, depth + 1) : JSON.stringify(value, null, 1);
  }
  if (typeof value === "string") return value === "" ? "“”" : value;
  return make("span", { class: "number" }, JSON.stringify(value));
}

/** Return a table of names and numbers. */
export function table(counts) {
  const rows = Object.entries(counts).map(([name, count]) =>
    make("tr", {}, make("th", { scope: "row" }, name), make("td", {}, typeof count === "number" ? formatNumber(count) : String(count))),
  );
  return make("table", {}, make("tbody", {}, ...rows));
}
