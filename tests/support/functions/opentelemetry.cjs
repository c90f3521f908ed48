// Preloaded module that instruments node:http with OpenTelemetry, and prints each span of a client.
const { createRequire } = require("node:module");
const load = createRequire(`${MODULES}/index.js`);
const { NodeTracerProvider } = load("@opentelemetry/sdk-trace-node");
const { HttpInstrumentation } = load("@opentelemetry/instrumentation-http");
const { registerInstrumentations } = load("@opentelemetry/instrumentation");

const exporter = {
  onStart() {},
  onEnd(span) {
    console.log(`span ${span.attributes["http.url"] ?? span.attributes["url.full"]}`);
  },
  forceFlush: async () => {},
  shutdown: async () => {},
};
registerInstrumentations({
  tracerProvider: new NodeTracerProvider({ spanProcessors: [exporter] }),
  instrumentations: [new HttpInstrumentation()],
});
require("http"); // an ES module imports the patched objects, but does not cause the patch
require("https");
