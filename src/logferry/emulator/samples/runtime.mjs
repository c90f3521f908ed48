// A minimal Node runtime: node runtime.mjs. It calls the handler of index.mjs for each invocation.
import { request } from "node:http";
import { handler } from "./index.mjs";

const [hostname, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");

// Not fetch(): it stops waiting for the next invocation after five minutes, and an environment may idle longer.
const call = (method, path, body, headers = {}) =>
  new Promise((resolve, reject) => {
    const options = { hostname, port, method, path: `/2018-06-01/runtime${path}`, headers };
    const sent = request(options, (response) => {
      const chunks = [];
      response.on("data", (chunk) => chunks.push(chunk));
      response.on("end", () => resolve({ headers: response.headers, body: Buffer.concat(chunks).toString() }));
    });
    sent.on("error", reject);
    sent.end(body);
  });

while (true) {
  const invocation = await call("GET", "/invocation/next");
  const id = invocation.headers["lambda-runtime-aws-request-id"];
  try {
    const result = await handler(JSON.parse(invocation.body));
    await call("POST", `/invocation/${id}/response`, JSON.stringify(result));
  } catch (error) {
    const report = { errorType: error.name, errorMessage: error.message };
    const headers = { "Lambda-Runtime-Function-Error-Type": `Runtime.${error.name}` };
    await call("POST", `/invocation/${id}/error`, JSON.stringify(report), headers);
  }
}
