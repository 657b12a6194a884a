// The channels with their unread counts. A click on one is handled by page.js.

import { byId, make, post } from "./dom.js";
import { formatNumber } from "./format.js";
import { state } from "./state.js";

export function showChannels(channels) {
  state.channels = channels;
  const unread = channels.reduce((sum, channel) => sum + channel.unread, 0);
  document.title = unread ? `(${formatNumber(unread)}) EmitKit inbox` : "EmitKit inbox";
  const focused = document.activeElement?.closest("#channels button")?.dataset.channel;
  const entries = [{ name: null, icon: "📥", unread }, ...channels];
  byId("channels").replaceChildren(...entries.map((channel) => make("li", {}, channelButton(channel))));
  if (focused !== undefined) [...byId("channels").querySelectorAll("button")].find((button) => button.dataset.channel === focused)?.focus();
}

function channelButton({ name, icon, unread }) {
  return make(
    "button",
    { type: "button", "data-channel": name === null ? "" : `#${name}`, "aria-current": name === state.channel ? "true" : null },
    make("span", { class: "icon", "aria-hidden": "true" }, icon || "#"),
    make("span", { class: "name", title: name ?? "" }, name ?? "All"),
    unread ? make("span", { class: "count", "aria-label": `${unread} unread` }, formatNumber(unread)) : null,
  );
}

/** Return the name of the channel that a button is for; `null` for all channels. */
export const channelOf = (button) => (button.dataset.channel === "" ? null : button.dataset.channel.slice(1));

/** Return the channel that is `by` places after the current one; `null` is all channels. */
export function neighbour(by) {
  const names = [null, ...state.channels.map((channel) => channel.name)];
  return names[(names.indexOf(state.channel) + by + names.length) % names.length];
}

/** Mark the current channel as read, if the page is visible. */
export function markRead() {
  const shown = state.channels.find((channel) => channel.name === state.channel);
  if (shown && shown.unread && document.visibilityState === "visible") post("_inbox/read", { channel: shown.name }).catch(() => {});
}
