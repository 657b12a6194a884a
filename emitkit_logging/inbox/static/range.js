// The range of time that is shown: the last minutes, hours or day, or from one moment to another.

import { byId } from "./dom.js";
import { state } from "./state.js";

const CUSTOM = "custom";

/** Return the range as parameters in milliseconds. */
export function rangeParameters() {
  if (state.range !== CUSTOM) return { since: state.range ? Date.now() - Number(state.range) * 1000 : "", until: "" };
  return { since: milliseconds(state.from), until: milliseconds(state.to) };
}

function milliseconds(text) {
  const time = text ? new Date(text).getTime() : NaN;
  return Number.isNaN(time) ? "" : time;
}

/** Whether an event arrived in the range. */
export function isInRange(event) {
  const { since, until } = rangeParameters();
  const time = new Date(event.createdAt).getTime();
  return (since === "" || time >= since) && (until === "" || time < until);
}

/** Take the range from the controls. */
function read() {
  state.range = byId("range").value;
  state.from = byId("from").value;
  state.to = byId("to").value;
  showMoments();
}

function showMoments() {
  byId("moments").hidden = state.range !== CUSTOM;
}

/** Show the range of the state in the controls, and call `onChange` when a user changes it. */
export function startRange(onChange) {
  const isKnown = [...byId("range").options].some((option) => option.value === state.range);
  byId("range").value = isKnown ? state.range : "";
  byId("from").value = state.from;
  byId("to").value = state.to;
  read();
  for (const id of ["range", "from", "to"]) {
    byId(id).addEventListener("change", () => {
      read();
      onChange();
    });
  }
}
