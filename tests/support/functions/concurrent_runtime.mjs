// A Node.js runtime for Lambda Managed Instances: two worker threads, each with concurrent invocations. As in AWS's
// runtime, the invoke store has the request ID of the invocation that is running.
import { request } from "node:http";
import { isMainThread, Worker } from "node:worker_threads";

if (isMainThread) {
  for (let number = 0; number < 2; number += 1) new Worker(new URL(import.meta.url));
} else {
  const { handler } = await import("./index.mjs");
  const { InvokeStore } = (await import("@aws/lambda-invoke-store")).default;
  const store = await InvokeStore.getInstanceAsync(true);
  const [hostname, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
  const call = (method, path, body) =>
    new Promise((resolve, reject) => {
      const options = { hostname, port, method, path: `/2018-06-01/runtime${path}` };
      const sent = request(options, (response) => {
        const chunks = [];
        response.on("data", (chunk) => chunks.push(chunk));
        response.on("end", () => resolve({ headers: response.headers, body: Buffer.concat(chunks).toString() }));
      });
      sent.on("error", reject);
      sent.end(body);
    });
  const serve = async () => {
    while (true) {
      const invocation = await call("GET", "/invocation/next");
      const id = invocation.headers["lambda-runtime-aws-request-id"];
      const context = { [InvokeStore.PROTECTED_KEYS?.REQUEST_ID ?? Symbol.for("_AWS_LAMBDA_REQUEST_ID")]: id };
      const result = await store.run(context, () => handler(JSON.parse(invocation.body)));
      await call("POST", `/invocation/${id}/response`, JSON.stringify(result));
    }
  };
  const concurrency = Number(process.env.AWS_LAMBDA_MAX_CONCURRENCY) / 2;
  await Promise.all(Array.from({ length: concurrency }, serve));
}
