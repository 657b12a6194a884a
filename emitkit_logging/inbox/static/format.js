// Numbers and times in the reader's language.

import { make } from "./dom.js";

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const numbers = new Intl.NumberFormat();
const relativeTimes = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "narrow" });
const absoluteTimes = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export const formatNumber = (number) => numbers.format(number);

/** Return a time in milliseconds as text; anything that is no time as it is. */
export function formatTime(milliseconds) {
  const date = new Date(milliseconds);
  return Number.isNaN(date.getTime()) ? String(milliseconds) : absoluteTimes.format(date);
}

/** Return a duration in milliseconds as text. */
export function formatDuration(milliseconds) {
  const seconds = milliseconds / 1000;
  if (seconds < 10) return `${seconds.toFixed(seconds < 1 ? 2 : 1)} s`;
  if (seconds < 2 * MINUTE) return `${Math.round(seconds)} s`;
  if (seconds < 2 * HOUR) return `${Math.round(seconds / MINUTE)} min`;
  return seconds < 2 * DAY ? `${Math.round(seconds / HOUR)} h` : `${Math.round(seconds / DAY)} days`;
}

function formatAge(date) {
  const seconds = Math.round((date - Date.now()) / 1000);
  if (seconds > -10) return "now";
  if (seconds > -MINUTE) return relativeTimes.format(seconds, "second");
  if (seconds > -HOUR) return relativeTimes.format(Math.round(seconds / MINUTE), "minute");
  if (seconds > -DAY) return relativeTimes.format(Math.round(seconds / HOUR), "hour");
  return relativeTimes.format(Math.round(seconds / DAY), "day");
}

/** Return an element with the age of a time, which `updateAges` keeps current. */
export function timeElement(time) {
  const date = new Date(time);
  return make("time", { datetime: date.toISOString(), title: absoluteTimes.format(date) }, formatAge(date));
}

export function updateAges() {
  for (const element of document.querySelectorAll("time")) element.textContent = formatAge(new Date(element.dateTime));
}
