// What an application does with the official client; each outcome is a line of JSON on the standard output.

import { EmitKit } from "@emitkit/js";

const options = { baseUrl: process.env.EMITKIT_BASE_URL };
const client = new EmitKit(process.env.EMITKIT_API_KEY, options);

async function outcome(name, call) {
  try {
    const { data, rateLimit, requestId, wasReplayed } = await call();
    console.log(JSON.stringify({ name, data, limit: rateLimit?.limit, requestId, wasReplayed }));
  } catch (error) {
    const { message, statusCode, requestId, validationErrors } = error;
    console.log(JSON.stringify({ name, error: error.constructor.name, message, statusCode, requestId, validationErrors }));
  }
}

const event = { channelName: "Sign Ups", title: "New User", icon: "👤", tags: ["signup"], metadata: { plan: "pro" } };

await outcome("create", () => client.events.create({ ...event, userId: "ada@example.com", displayAs: "notification" }));
await outcome("identify", () =>
  client.identify({ user_id: "user-1", properties: { plan: "pro" }, aliases: ["ada@example.com"] }),
);
await outcome("alias", () => client.events.create({ ...event, userId: "ada@example.com" }));
await outcome("key", () => client.events.create(event, { idempotencyKey: "one" }));
await outcome("key again", () => client.events.create(event, { idempotencyKey: "one" }));
await outcome("invalid", () => client.events.create({ channelName: "c", title: 1, notify: null }));
await outcome("too long", () => client.events.create({ ...event, title: "x".repeat(501) }));
await outcome("wrong key", () => new EmitKit("emitkit_wrong", options).events.create(event));
