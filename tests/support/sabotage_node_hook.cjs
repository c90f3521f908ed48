// Runs the same calls once for each statement of the hook, with an exception in place of this statement:
//
//     node sabotage_node_hook.cjs HOOK FOLDER PIPE [STEP [FIRST]]
//
// Each variant runs in a worker thread, which has its own diagnostics channels. STEP and FIRST select a part of the
// variants. The output is one JSON object: the outcome without a hook, the number of variants, the lines whose outcome
// differs, and those that were never executed.
"use strict";
const fs = require("fs");
const http = require("http");
const http2 = require("http2");
const { Worker, isMainThread, workerData } = require("worker_threads");
const vm = require("vm");

const TRUSTED = ["callback(message)"]; // the only statement that no other one guards
const AT_ONCE = 4;

const core = (options) =>
  new Promise((resolve) => {
    const sent = http.request({ host: "127.0.0.1", ...options }, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => resolve([response.statusCode, Buffer.concat(chunks).toString(), sent.getHeaders()]));
    });
    sent.on("error", (error) => resolve(error.code));
    sent.end();
  });

const fetched = async (url) => {
  try {
    const response = await fetch(url);
    return [response.status, await response.text()];
  } catch (error) {
    return error.cause.code;
  }
};

const http2Stream = (origin) =>
  new Promise((resolve) => {
    const session = http2.connect(origin).on("error", () => {});
    const stream = session.request({ ":path": "/h2?key=1", "content-length": "0" });
    const end = (outcome) => resolve(outcome, session.destroy());
    let status;
    stream.on("response", (headers) => (status = headers[":status"]));
    stream.on("error", (error) => end(error.code)).on("end", () => end(status)).resume();
  });

/** Fill the pipe, so that the next line is rejected; return the bytes that have to be read again. */
const fill = (pipe) => {
  let bytes = 0;
  try {
    for (;;) bytes += fs.writeSync(pipe, "x".repeat(4095) + "\n");
  } catch (error) {
    return bytes;
  }
};
const empty = (pipe) => {
  const buffer = Buffer.alloc(1 << 20);
  try {
    for (;;) fs.readSync(pipe, buffer);
  } catch (error) {
    if (error.code !== "EAGAIN") throw error;
  }
};

const calls = async ({ port, http2Port, refused, pipe }) => {
  const descriptor = fs.openSync(pipe, fs.constants.O_RDWR | fs.constants.O_NONBLOCK);
  process.env._X_AMZN_TRACE_ID = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1";
  const long = "/" + "x/".repeat(2000) + "y".repeat(50);
  const found = [
    await core({ port, path: "/a?key=1&flag&" + "k".repeat(50) + "=1" }),
    await core({ port, path: long, headers: { host: "other.example" } }),
    await core({ port, path: "http://user@target.example/x" }),
    await core({ port: refused }),
    await fetched(`http://127.0.0.1:${port}/b?c=1`),
    await fetched(`http://127.0.0.1:${refused}/`),
    await core({ port, path: "/" + "\u00e9".repeat(10), headers: { "content-length": 0 } }).catch((error) => error.code),
  ];
  found.push(await http2Stream(`http://127.0.0.1:${http2Port}`), await http2Stream(`http://127.0.0.1:${refused}`));
  globalThis.awslambda = { InvokeStore: { getRequestId: () => "8f2d0c66-0000-4000-8000-000000000001" } };
  found.push(await core({ port, path: "/many-headers" }));
  fill(descriptor);
  found.push(await core({ port }));
  empty(descriptor);
  await new Promise((resolve) => setTimeout(resolve, 10)); // the hook pauses after a full pipe
  found.push(await core({ port }));
  fs.closeSync(descriptor);
  return found;
};

/** Return the text of each variant by its line: an exception before the line, if the result is valid. */
const variants = (source) => {
  const lines = source.split("\n");
  const first = lines.findIndex((line) => line.startsWith("function recordCalls")) + 1;
  const last = lines.findIndex((line, number) => number > first && line === "}");
  const found = new Map();
  for (let number = first; number < last; number += 1) {
    if (/^[\s})\];,]*$/.test(lines[number]) || TRUSTED.some((text) => lines[number].includes(text))) continue;
    const thrown = `globalThis.sabotaged = true; if (true) throw new Error("sabotaged");`;
    const text = [...lines.slice(0, number), thrown, ...lines.slice(number)].join("\n");
    try {
      new vm.Script(`(function (require, process) {${text}\n})`);
      found.set(number + 1, text);
    } catch (error) {
      // The line continues an expression.
    }
  }
  return found;
};

const run = (file, data) =>
  new Promise((resolve) => {
    const worker = new Worker(__filename, { workerData: { file, ...data } });
    worker.on("message", resolve);
    worker.on("error", (error) => resolve({ failed: String(error) }));
    worker.on("exit", (code) => resolve({ failed: `exit ${code}` }));
  });

const main = async () => {
  const [hook, folder, pipe, step = "1", first = "0"] = process.argv.slice(2);
  const server = http.createServer((request, response) => {
    response.setHeader("date", "none");
    if (request.url === "/many-headers") {
      for (let number = 0; number < 30; number += 1) response.setHeader(`x-${number}`, "\u00e9".repeat(300));
    }
    response.end(request.url.slice(0, 100));
  });
  const http2Server = http2.createServer((request, response) => response.end("http2"));
  const other = http.createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  await new Promise((resolve) => http2Server.listen(0, "127.0.0.1", resolve));
  await new Promise((resolve) => other.listen(0, "127.0.0.1", resolve));
  const ports = { port: server.address().port, http2Port: http2Server.address().port, refused: other.address().port };
  const data = { ...ports, pipe };
  await new Promise((resolve) => other.close(resolve));

  const expected = JSON.stringify((await run(undefined, data)).found);
  const unharmed = await run(hook, data);
  const different = JSON.stringify(unharmed.found) === expected ? [] : [[0, unharmed]];
  const unreached = [];
  const all = [...variants(fs.readFileSync(hook, "utf8"))];
  const pending = all.filter((_, number) => number % Number(step) === Number(first));
  const count = pending.length;
  const next = async () => {
    for (let one = pending.shift(); one !== undefined; one = pending.shift()) {
      const file = `${folder}/variant-${one[0]}.cjs`;
      fs.writeFileSync(file, one[1]);
      const { found, sabotaged, failed } = await run(file, data);
      if (failed || JSON.stringify(found) !== expected) different.push([one[0], failed ?? found]);
      if (!sabotaged) unreached.push(one[0]);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, next));
  http2Server.close();
  server.close();
  server.closeAllConnections();
  console.log(JSON.stringify({ expected, count, different, unreached: unreached.sort((a, b) => a - b) }));
};

const variant = async () => {
  if (workerData.file) require(workerData.file);
  const found = await calls(workerData);
  require("worker_threads").parentPort.postMessage({ found, sabotaged: globalThis.sabotaged ?? false });
};

(isMainThread ? main() : variant()).catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
