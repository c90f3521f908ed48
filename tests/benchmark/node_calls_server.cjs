// A server that functions call, for measurements: it responds to any request after a fixed time, and prints its port.
//
//     node node_calls_server.cjs MILLISECONDS
"use strict";
const http = require("node:http");

const delay = Number(process.argv[2]);
const body = '{"id":"4711","state":"shipped"}';
const server = http.createServer((request, response) => {
  response.setHeader("content-length", body.length);
  const respond = () => response.end(body);
  if (delay > 0) setTimeout(respond, delay);
  else respond();
});
server.keepAliveTimeout = 60000;
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.resume().on("end", () => process.exit());
