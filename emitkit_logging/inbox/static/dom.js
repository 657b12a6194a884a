// Elements of the page, and requests to the inbox. All that was logged becomes text, never markup.

const COPIED_FOR = 2000;

export const byId = (id) => document.getElementById(id);

/** Make an element. Children are nodes or text; `null`, `undefined` and `false` are left out. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Send `body` as JSON, and return the response. */
export function post(path, body) {
  return fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

/** Make an element of a drawing. */
export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Return a text that is monospaced, as it is, with a button that copies it. */
export function copyable(text) {
  const pre = make("pre", { tabindex: "0" }, text);
  const button = make("button", { class: "copy", type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    button.textContent = (await copy(text, pre)) ? "Copied" : "Selected";
    setTimeout(() => (button.textContent = "Copy"), COPIED_FOR);
  });
  return make("div", { class: "copyable" }, pre, button);
}

/** Copy a text; where the browser does not allow it (an address that is not secure), select it. */
async function copy(text, element) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}
