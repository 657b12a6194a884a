// The actions and fields of an event: links, and the form that answers a question.

import { make, post } from "./dom.js";
import { timeElement } from "./format.js";
import { tree } from "./values.js";

/** Return the links, the form or the answer of an event; `null` when it has none. `onAnswered` gets the new event. */
export function question(event, onAnswered) {
  const links = event.actions.filter((action) => "url" in action).map(link);
  if (event.answer === null) return links.length ? make("div", { class: "buttons" }, ...links) : null;
  if (event.answer.status !== "pending") return make("div", {}, outcome(event), make("div", { class: "buttons" }, ...links));
  return form(event, links, onAnswered);
}

function form(event, links, onAnswered) {
  const element = make("form", { class: "question" });
  const inputs = event.fields.map((field) => fieldInput(field, `${event.seq}-${field.id}`));
  const ownButtons = event.actions.filter((action) => "id" in action);
  const actions = ownButtons.length ? ownButtons : [{ id: "submit", label: "Send", style: "primary" }];
  const problems = make("p", { class: "wrong", role: "alert" });
  const buttons = actions.map((action) =>
    make("button", { type: "button", class: action.style || "", onclick: () => answer(event, action, inputs, problems, onAnswered) }, action.label),
  );
  const enable = () => {
    const values = valuesOf(inputs);
    actions.forEach((action, index) => {
      buttons[index].disabled = (action.requires || []).some((name) => !values[name] || !values[name].length);
    });
  };
  element.addEventListener("input", enable);
  element.addEventListener("submit", (submitted) => {
    submitted.preventDefault();
    if (actions.length === 1 && !buttons[0].disabled) buttons[0].click();
  });
  element.append(...inputs.map((input) => input.element), make("div", { class: "buttons" }, ...buttons, ...links), problems);
  enable();
  return element;
}

/** Only http and https become links; any other URL is shown as text, because it could run a script. */
function link(action) {
  let url = null;
  try {
    url = new URL(action.url);
  } catch {
    // not a URL
  }
  if (url === null || !["http:", "https:"].includes(url.protocol)) return make("span", {}, `${action.label}: ${action.url}`);
  return make("a", { href: url.href, target: "_blank", rel: "noopener noreferrer" }, action.label);
}

function outcome(event) {
  const { status, action, values, at } = event.answer;
  const pressed = event.actions.find((each) => each.id === action);
  const text = status === "answered" ? `Answered: ${pressed ? pressed.label : "sent"}` : `The question was ${status}`;
  const line = make("p", {}, make("strong", {}, text), " · ", at ? timeElement(at) : "");
  return make("div", {}, line, values && Object.keys(values).length ? tree(values) : null);
}

/** Return the id and the element of a field, and a function that reads its value. */
function fieldInput(field, id) {
  if (field.type === "choice") return choiceInput(field, id);
  if (field.type === "boolean") return checkbox(field, id);
  const tag = field.multiline ? "textarea" : "input";
  const input = make(tag, {
    id,
    type: field.multiline ? null : field.type === "number" ? "number" : "text",
    maxlength: field.maxLength,
    placeholder: field.placeholder,
    min: field.min,
    max: field.max,
    step: field.type === "number" ? field.step ?? "any" : null,
  });
  input.value = field.default ?? "";
  const read = () => (input.value === "" ? null : field.type === "number" ? Number(input.value) : input.value);
  const unit = field.unit ? make("span", { class: "unit" }, ` ${field.unit}`) : null;
  const label = make("label", { class: "label", for: id }, field.label);
  return { id: field.id, element: make("div", { class: "field" }, label, make("span", {}, input, unit)), read };
}

function checkbox(field, id) {
  const input = make("input", { type: "checkbox", id });
  input.checked = field.default === true;
  return { id: field.id, element: make("label", { class: "choice" }, input, field.label), read: () => input.checked };
}

function choiceInput(field, id) {
  const chosen = [field.default ?? []].flat();
  const inputs = field.options.map((option) => {
    const input = make("input", { type: field.multiple ? "checkbox" : "radio", name: id, value: option.id });
    input.checked = chosen.includes(option.id);
    return input;
  });
  const labels = field.options.map((option, index) => make("label", { class: "choice" }, inputs[index], option.label));
  const read = () => {
    const values = inputs.filter((input) => input.checked).map((input) => input.value);
    return field.multiple ? values : values[0] ?? null;
  };
  return { id: field.id, element: make("fieldset", {}, make("legend", {}, field.label), ...labels), read };
}

function valuesOf(inputs) {
  return Object.fromEntries(inputs.map((input) => [input.id, input.read()]));
}

async function answer(event, action, inputs, problems, onAnswered) {
  const values = Object.fromEntries(Object.entries(valuesOf(inputs)).filter(([, value]) => value !== null));
  const response = await post(`_inbox/events/${encodeURIComponent(event.id)}/answer`, { action: action.id, values });
  const body = await response.json().catch(() => ({ error: `The inbox responded with ${response.status}` }));
  if (response.ok) {
    onAnswered(body);
    return;
  }
  const details = (body.details || []).map((each) => `${each.path.slice(1).join(" ")}: ${each.message}`);
  problems.textContent = [body.error, ...details].join(" · ");
}
