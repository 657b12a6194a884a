// What the page shows: the filters, the channels, and the rows of the list by the numbers of their events.

export const LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"];

export const state = {
  channel: null,
  level: "",
  text: "",
  range: "",
  from: "",
  to: "",
  newest: 0,
  channels: [],
  fresh: 0,
  hasMore: false,
  isLoading: false,
  rows: new Map(),
};

/** Return the filters as a query, without the range of time, and `more` parameters with them. */
export function query(more = {}) {
  const parameters = { channel: state.channel, level: state.level, q: state.text, ...more };
  return new URLSearchParams(Object.entries(parameters).filter(([, value]) => value !== null && value !== "" && value !== undefined));
}

/** Whether an event matches the filters by channel and level. Only the inbox can search text. */
export function matches(event) {
  if (state.channel !== null && event.channelName !== state.channel) return false;
  return !state.level || LEVELS.indexOf(event.level) >= LEVELS.indexOf(state.level);
}

export const isFiltered = () => Boolean(state.channel || state.level || state.text || state.range);
