// A function that makes the HTTP calls of its event, with the clients that people use.
//
// | key of the event | effect                                                                            |
// |------------------|-----------------------------------------------------------------------------------|
// | `calls`          | list of calls: `client`, `url`, and optionally `method`, `body`, `headers`, `timeout` |
// | `concurrent`     | make all calls at once                                                            |
// | `repeat`         | number of times that the list is repeated                                         |
// | `state`          | add heap, descriptors, listeners and `NODE_OPTIONS` to the response               |
// | `requestId`      | add the request ID of the invoke store to the response                            |
// | `hang`           | never respond                                                                     |
//
// The response has, for each call, the status and the text, or the code or class of the error.
import { createRequire } from "node:module";
import { readdirSync } from "node:fs";
import http from "node:http";
import https from "node:https";

const require = createRequire(import.meta.url);
const agents = { "http:": new http.Agent({ keepAlive: true }), "https:": new https.Agent({ keepAlive: true }) };
const sockets = new Set();

/** Return the URL of a server in this process, which is fast enough for thousands of calls. */
let started;
const local = () =>
  (started ??= new Promise((resolve) => {
    const server = http.createServer((request, response) => response.end("local"));
    server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${server.unref().address().port}/local`));
  }));

const core = (call, options = {}) =>
  new Promise((resolve, reject) => {
    const url = new URL(call.url);
    const { request } = url.protocol === "https:" ? https : http;
    const sent = request(url, { method: call.method, headers: call.headers, timeout: call.timeout, ...options }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => resolve([response.statusCode, Buffer.concat(chunks).toString()]));
    });
    sent.on("socket", (socket) => sockets.add(socket));
    sent.on("timeout", () => sent.destroy(Object.assign(new Error("timeout"), { code: "ETIMEDOUT" })));
    sent.on("error", reject);
    sent.end(call.body);
  });

const fetched = async (fetch, call) => {
  const { method, body, headers, timeout } = call;
  const signal = timeout ? AbortSignal.timeout(timeout) : undefined;
  const response = await fetch(call.url, { method, body, headers, signal });
  return [response.status, await response.text()];
};

const http2Call = async (call) => {
  const http2 = await import("node:http2");
  const url = new URL(call.url);
  const session = http2.connect(url.origin, { ca: call.ca });
  try {
    return await new Promise((resolve, reject) => {
      session.on("error", reject);
      const stream = session.request({ ":path": url.pathname + url.search, ":method": call.method ?? "GET" });
      const chunks = [];
      let status;
      stream.on("response", (headers) => (status = headers[":status"]));
      stream.on("data", (chunk) => chunks.push(chunk));
      stream.on("error", reject);
      stream.on("end", () => resolve([status, Buffer.concat(chunks).toString()]));
    });
  } finally {
    session.destroy();
  }
};

const clients = {
  http: (call) => core(call),
  https: (call) => core(call),
  pooled: (call) => core(call, { agent: agents[new URL(call.url).protocol] }),
  aborted: (call) => core(call, { signal: AbortSignal.timeout(50) }),
  fetch: (call) => fetched(fetch, call),
  local: async (call) => core({ ...call, url: await local() }, { agent: agents["http:"] }),
  http2: http2Call,
  undici: async (call) => {
    const { request } = require("undici");
    const { statusCode, body } = await request(call.url, { method: call.method, body: call.body });
    return [statusCode, await body.text()];
  },
  axios: async (call) => {
    const axios = require("axios");
    const { url, method, body, headers, timeout } = call;
    const response = await axios({ url, method, data: body, headers, timeout, validateStatus: null });
    return [response.status, String(response.data)];
  },
  got: async (call) => {
    const { got } = await import("got");
    const { method, body, headers, retries, timeout } = call;
    const options = { method, body, headers, throwHttpErrors: false, timeout: { request: timeout } };
    const retry = { limit: retries ?? 0, calculateDelay: ({ computedValue }) => computedValue && 1 };
    const response = await got(call.url, { ...options, retry });
    return [response.statusCode, response.body];
  },
  "node-fetch": async (call) => fetched((await import("node-fetch")).default, call),
  aws: async (call) => {
    const { LambdaClient, InvokeCommand } = require("@aws-sdk/client-lambda");
    const credentials = { accessKeyId: "AKIDEXAMPLE", secretAccessKey: "secret-of-the-function" };
    const client = new LambdaClient({ region: "us-east-1", endpoint: call.url, credentials, maxAttempts: call.retries ?? 1 });
    const response = await client.send(new InvokeCommand({ FunctionName: "other", Payload: call.body }));
    return [response.StatusCode, Buffer.from(response.Payload).toString()];
  },
};

const made = async (call) => {
  const began = performance.now();
  let result;
  try {
    const [status, text] = await clients[call.client](call);
    result = { status, text };
  } catch (error) {
    const cause = error.cause ?? error;
    result = { error: String(cause.code ?? cause.name ?? cause) };
  }
  return { result, elapsedMs: performance.now() - began };
};

const state = () => {
  globalThis.gc?.();
  const listeners = [...sockets].filter((socket) => !socket.destroyed).map((socket) => socket.eventNames().length);
  return {
    heap: process.memoryUsage().heapUsed,
    descriptors: readdirSync("/proc/self/fd").length,
    listeners: Math.max(0, ...listeners),
    nodeOptions: process.env.NODE_OPTIONS ?? null,
    preloaded: globalThis.preloaded ?? null,
  };
};

export const handler = async (event) => {
  const outcomes = [];
  for (let number = 0; number < (event.repeat ?? 1); number += 1) {
    if (event.concurrent) {
      outcomes.push(...(await Promise.all(event.calls.map(made))));
    } else {
      for (const call of event.calls) outcomes.push(await made(call));
    }
    if (event.repeat > 20) outcomes.splice(0, outcomes.length - 1);
  }
  if (event.hang) await new Promise(() => setInterval(() => {}, 1000));
  const requestId = event.requestId ? globalThis.awslambda.InvokeStore.getRequestId() : undefined;
  return { outcomes, requestId, state: event.state ? state() : undefined };
};
