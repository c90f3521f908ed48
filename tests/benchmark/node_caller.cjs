// A Node.js function that makes calls, for measurements: a process that runs batches of calls on command.
//
//     node node_caller.cjs CLIENT PORT MODE
//
// It prints `ready`, reads the number of calls of each batch from stdin, and prints the wall and CPU seconds of the
// batch. The mode is `plain`, `opentelemetry` (spans are serialized for export) or `opentelemetry-dropped`.
"use strict";
const readline = require("node:readline");

const [client, port, mode] = process.argv.slice(2);
const url = `http://127.0.0.1:${port}/v1/orders/4711?expand=items`;

const instrument = () => {
  const load = require("node:module").createRequire(`${process.env.MODULES}/index.js`);
  const { BatchSpanProcessor, NodeTracerProvider } = load("@opentelemetry/sdk-trace-node");
  const { HttpInstrumentation } = load("@opentelemetry/instrumentation-http");
  const { registerInstrumentations } = load("@opentelemetry/instrumentation");
  const { ProtobufTraceSerializer } = load("@opentelemetry/otlp-transformer");
  const exporter = {
    export: (spans, done) => done({ code: ProtobufTraceSerializer.serializeRequest(spans).length > 0 ? 0 : 1 }),
    shutdown: async () => {},
  };
  const limits = { scheduledDelayMillis: 100, maxQueueSize: 100000 };
  const processors = mode === "opentelemetry" ? [new BatchSpanProcessor(exporter, limits)] : [];
  const tracerProvider = new NodeTracerProvider({ spanProcessors: processors });
  tracerProvider.register();
  registerInstrumentations({ tracerProvider, instrumentations: [new HttpInstrumentation()] });
};
if (mode.startsWith("opentelemetry")) instrument();

const http = require("http");
const agent = new http.Agent({ keepAlive: true });
const clients = {
  http: () =>
    new Promise((resolve, reject) => {
      const sent = http.get(url, { agent }, (response) => response.resume().on("end", resolve));
      sent.on("error", reject);
    }),
  fetch: async () => (await fetch(url)).text(),
};

const main = async () => {
  globalThis.awslambda = { InvokeStore: { getRequestId: () => "8f2d0c66-0000-4000-8000-000000000001" } };
  const call = clients[client];
  await call();
  console.log("ready");
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const [began, used] = [process.hrtime(), process.cpuUsage()];
    for (let number = Number(line); number > 0; number -= 1) await call();
    const [wall, cpu] = [process.hrtime(began), process.cpuUsage(used)];
    console.log(wall[0] + wall[1] / 1e9, (cpu.user + cpu.system) / 1e6);
  }
  process.exit();
};
main();
