/**
 * HTTP calls of a Node.js function: one line of JSON into logferry's event pipe for each call.
 *
 *     node --require /opt/logferry/hooks/node.cjs index.js
 *
 * Guarantees:
 * - The hook replaces no function and adds no listener, header or property to a request or response.
 * - It never reads a body, and never records query values, userinfo or request headers.
 * - No exception leaves it. A call that it fails to record is counted in `lost` of the next line.
 * - Without LOGFERRY_CALLS or the pipe it does nothing. Before Node.js 18.19 it writes one line with the version.
 *
 * Design: Node.js publishes its HTTP calls on diagnostics channels. Channels work for ES modules, bundles and worker
 * threads, because they are identified by name. A subscriber that throws ends the process, so `guarded` wraps each.
 * Before 18.19 a channel could be collected with its subscribers. A line is one write of at most 4,096 bytes, which a
 * pipe stores completely or not at all. The syntax is that of ES2015, so that every Node.js can at least parse this file.
 *
 * References: Node.js documentation, "Diagnostics Channel", built-in channels; pipe(7), PIPE_BUF.
 */
"use strict";

function recordCalls() {
  const LINE_BYTES = 4096;
  const HEADER_BYTES = 200;
  const PATH_CHARACTERS = 1024;
  const SHORT_PATH_CHARACTERS = 256;
  const ORIGINS = 256;
  const RETRY_MS = 5; // pause after a full pipe, because each rejected write costs more than the call's line
  const MASK = "***";

  /** 40 or more characters of base64 (also URL-safe and percent-encoded) or hex. */
  const SECRET = /(?:[A-Za-z0-9+_=-]|%2[BbFf]|%3[Dd]){40}/;
  /** The beginning of a URL, which is the target of a request to a proxy. */
  const ABSOLUTE = /^[a-z]+:\/\/[^/?#]*/i;
  const BARE_NAME = /^[A-Za-z_-]{1,30}$/;
  const IDENTIFIER = /^[\w.-]{1,64}$/;
  const TRACE_ROOT = /(?:^|;)\s*Root=([\w-]{1,64})/;
  const LOOPBACK = new Set(["127.0.0.1", "localhost", "sandbox", "sandbox.localdomain"]);
  const NEVER = new Set(
    ("authorization proxy-authorization www-authenticate proxy-authenticate authentication-info " +
      "proxy-authentication-info cookie set-cookie set-cookie2 x-amz-security-token x-api-key x-auth-token " +
      "x-csrf-token").split(" "),
  );

  const guarded = (callback) => (message) => {
    try { callback(message); } catch (error) { lost += 1; failure = error; } // prettier-ignore
  };

  let fs = null;
  let channels = null;
  const hrtime = process.hrtime.bind(process);
  let wallClock = null;
  let settings = null;
  let spool = "";
  let pipe = -1;
  let retryAt = 0;
  let sent = 0;
  let lost = 0;
  let failure = null;
  let thread = 0;
  let calls = null;
  let origins = null;
  let trace = { header: "", root: undefined };
  const subscriptions = [];

  install(process.env);

  function install(environment) {
    const mode = (environment.LOGFERRY_CALLS || "").trim().toLowerCase();
    if (mode !== "summary" && mode !== "each") return;
    const { constants, openSync, fstatSync, closeSync, readFileSync, writeSync } = require("fs");
    fs = { constants, openSync, fstatSync, closeSync, readFileSync, writeSync }; // later mocks have no effect
    spool = (environment.LOGFERRY_SPOOL_DIR || "").trim() || "/tmp/logferry";
    pipe = openPipe(`${spool}/events`);
    if (pipe < 0) return;
    wallClock = Date.now;
    thread = threadNumber();
    if (!isSupported(process.versions.node, (process.release || {}).name)) {
      send({ event: "HTTP calls are not recorded: Node.js 18.19 or newer is required", node: process.versions.node });
      closeSync(pipe);
      return;
    }
    settings = readSettings(environment);
    calls = new WeakMap();
    origins = new Map();
    channels = require("diagnostics_channel");
    subscribeAll();
  }

  /** Return the monotonic time in milliseconds. The module perf_hooks would add to each cold start. */
  function clock() {
    const time = hrtime();
    return time[0] * 1000 + time[1] / 1e6;
  }

  /** Return the number of a worker thread, else 0. Workers have no `chdir`; their module is not loaded elsewhere. */
  function threadNumber() {
    return process.chdir.disabled === true ? require("worker_threads").threadId : 0;
  }

  function isSupported(version, release) {
    const [major, minor] = version.split(".").map(Number); // an expression would be compiled in each cold start
    return release === "node" && (major >= 20 || (major === 18 && minor >= 19));
  }

  /** Return the descriptor of a named pipe of this user that has a reader, else -1. */
  function openPipe(path) {
    const flags = fs.constants.O_WRONLY | fs.constants.O_NONBLOCK | fs.constants.O_NOFOLLOW; // libuv adds O_CLOEXEC
    let descriptor = -1;
    try {
      descriptor = fs.openSync(path, flags);
      const status = fs.fstatSync(descriptor);
      if (status.isFIFO() && status.uid === process.getuid()) return descriptor;
    } catch (error) {
      if (descriptor < 0) return -1; // no extension, no reader, or a link
    }
    fs.closeSync(descriptor);
    return -1;
  }

  function readSettings(environment) {
    const names = (text) => !text ? [] : text.split(",").map((name) => name.trim().toLowerCase()).filter(Boolean); // prettier-ignore
    return {
      url: (environment.LOGFERRY_CALLS_URL || "path").trim().toLowerCase(),
      headers: names(environment.LOGFERRY_CALLS_HEADERS).filter((name) => !NEVER.has(name)),
      ignored: names(environment.LOGFERRY_CALLS_IGNORE).map(pattern),
      runtimeApi: (environment.AWS_LAMBDA_RUNTIME_API || "").toLowerCase(),
      port: Number(environment.LOGFERRY_PORT || 9513),
    };
  }

  /** Return the expression of a host pattern: `*` matches any characters, a port is optional. */
  function pattern(text) {
    const expression = text.split("*").map((part) => part.replace(/[.+?^${}()|[\]\\]/g, "\\$&")).join(".*"); // prettier-ignore
    return new RegExp(`^${expression}(?::\\d+)?$`);
  }

  function subscribeAll() {
    subscribe("http.client.request.created", (message) => {
      unsubscribe("http.client.request.start"); // `created` includes the wait for a socket of the agent
      begin(message.request);
    });
    subscribe("http.client.request.start", (message) => begin(message.request));
    subscribe("http.client.request.error", (message) => failHttp(message.request, message.error));
    subscribe("http.client.response.finish", (message) => finishHttp(message.request, message.response));
    subscribe("undici:request:create", (message) => begin(message.request));
    subscribe("undici:request:headers", (message) => finishUndici(message.request, message.response));
    subscribe("undici:request:error", (message) => failUndici(message.request, message.error));
    subscribe("http2.client.stream.created", (message) => beginHttp2(message.stream));
    subscribe("http2.client.stream.finish", (message) => finishHttp2(message.stream, message.headers));
    subscribe("http2.client.stream.error", (message) => failHttp2(message.stream, message.error));
  }

  function subscribe(name, callback) {
    const subscriber = guarded(callback);
    channels.subscribe(name, subscriber);
    subscriptions.push([name, subscriber]);
  }

  /** Remove the subscriber of a channel, or all subscribers. */
  function unsubscribe(name) {
    for (let i = subscriptions.length - 1; i >= 0; i -= 1) {
      if (name === undefined || subscriptions[i][0] === name) {
        channels.unsubscribe(subscriptions[i][0], subscriptions[i][1]);
        subscriptions.splice(i, 1);
      }
    }
  }

  /** Keep the start and the request ID of a call; `request` is the object that identifies it on its channels. */
  function begin(request) {
    const call = { time: wallClock(), began: clock(), requestId: requestId(), trace: undefined };
    if (call.requestId === undefined) call.trace = traceRoot();
    calls.set(request, call);
  }

  /** Return the state of a call and forget it. A call that ended before its start was published has no state yet. */
  function end(request, mayBegin) {
    const call = calls.get(request);
    calls.set(request, null);
    if (call !== undefined || !mayBegin) return call || null;
    return { time: wallClock(), began: undefined, requestId: requestId(), trace: traceRoot() };
  }

  function requestId() {
    const lambda = globalThis.awslambda;
    const store = lambda && lambda.InvokeStore;
    const id = store && typeof store.getRequestId === "function" ? store.getRequestId() : undefined;
    return typeof id === "string" && id !== "-" && IDENTIFIER.test(id) ? id : undefined;
  }

  function traceRoot() {
    const header = process.env._X_AMZN_TRACE_ID;
    if (header === undefined) return undefined;
    if (header !== trace.header) trace = { header, root: (TRACE_ROOT.exec(header) || [])[1] };
    return trace.root;
  }

  function finishHttp(request, response) {
    const call = end(request, true);
    const place = call && httpPlace(request);
    if (!place) return;
    const headers = response.headers;
    record(call, place, {
      status: response.statusCode,
      requestBytes: length(request.getHeader("content-length")),
      responseBytes: length(headers["content-length"]),
      headers: chosen((name) => headers[name]),
    });
  }

  function failHttp(request, error) {
    const call = end(request, true);
    const place = call && httpPlace(request);
    if (place) record(call, place, { error: code(error) });
  }

  function finishUndici(request, response) {
    const call = end(request, false);
    const place = call && locate(request.method, String(request.origin), undefined, request.path);
    if (!place) return;
    const find = (name) => rawHeader(response.headers, name);
    record(call, place, {
      status: response.statusCode,
      requestBytes: length(request.contentLength),
      responseBytes: length(find("content-length")),
      headers: chosen(find),
    });
  }

  function failUndici(request, error) {
    const call = end(request, false);
    const place = call && locate(request.method, String(request.origin), undefined, request.path);
    if (place) record(call, place, { error: code(error) });
  }

  /** Keep the start of a stream, unless it is one of undici, whose own channels publish the call too. */
  function beginHttp2(stream) {
    const symbols = Object.getOwnPropertySymbols(stream.session);
    if (!symbols.some((symbol) => symbol.description === "open streams")) begin(stream);
  }

  function finishHttp2(stream, headers) {
    const call = end(stream, false);
    const place = call && http2Place(stream.sentHeaders);
    if (!place) return;
    record(call, place, {
      status: headers[":status"],
      requestBytes: length(stream.sentHeaders["content-length"]),
      responseBytes: length(headers["content-length"]),
      headers: chosen((name) => headers[name]),
    });
  }

  function failHttp2(stream, error) {
    const call = end(stream, false);
    const place = call && http2Place(stream.sentHeaders);
    if (place) record(call, place, { error: code(error) });
  }

  function http2Place(sent) {
    return locate(sent[":method"], `${sent[":scheme"]}://${sent[":authority"]}`, undefined, sent[":path"]);
  }

  /** Return the place of a request of node:http, which keeps its port only in the Host header and in the socket. */
  function httpPlace(request) {
    const host = String(request.host);
    const name = host.includes(":") && !host.startsWith("[") ? `[${host}]` : host;
    const header = request.getHeader("host");
    const isDefault = typeof header === "string" && (header === name || header.startsWith(`${name}:`));
    const port = isDefault || !request.socket ? undefined : request.socket.remotePort; // set by the function
    return locate(request.method, `${request.protocol}//${isDefault ? header : name}`, port, request.path);
  }

  /** Return method, host, port and path of a call, or null for a call that is not recorded. */
  function locate(method, origin, port, target) {
    if (method === "CONNECT") return null; // the way to a proxy; the call through it has its own line
    const isAbsolute = typeof target === "string" && !target.startsWith("/") && ABSOLUTE.test(target); // to a proxy
    const found = isAbsolute ? originOf(ABSOLUTE.exec(target)[0], undefined) : originOf(origin, port);
    if (!found.isRecorded) return null;
    const place = { method: String(method).slice(0, 32), host: found.host, port: found.port, path: undefined };
    if (settings.url !== "path" && settings.url !== "query") return place;
    place.path = shownPath(isAbsolute ? target.replace(ABSOLUTE, "") || "/" : String(target || "/"));
    return place;
  }

  /** Return host and port of an origin, and whether its calls are recorded. `port` replaces that of the text. */
  function originOf(text, port) {
    const key = port === undefined ? text : `${text} ${port}`;
    let found = origins.get(key);
    if (found === undefined) {
      const url = new URL(text);
      const host = url.hostname.replace(/^\[|\]$/g, "").slice(0, 255);
      found = { host, port: port || Number(url.port) || (url.protocol === "https:" ? 443 : 80), isRecorded: true };
      found.isRecorded = !isIgnored(host, `${host}:${found.port}`);
      if (origins.size >= ORIGINS) origins.clear();
      origins.set(key, found);
    }
    return found;
  }

  function isIgnored(host, address) {
    if (address === settings.runtimeApi || host.startsWith("169.254.")) return true;
    if (LOOPBACK.has(host) && address === `${host}:${listenerPort()}`) return true;
    return settings.ignored.some((one) => one.test(address) || one.test(host));
  }

  /** Return the port of logferry's listener. A file in the spool has its URL if the configured port was in use. */
  function listenerPort() {
    try {
      return Number(/:(\d+)\//.exec(fs.readFileSync(`${spool}/events-url`, "latin1"))[1]);
    } catch (error) {
      return settings.port;
    }
  }

  /** Return the recorded part of a path: secrets masked, without fragment, and without query unless it is wanted. */
  function shownPath(target) {
    const whole = target.split("#", 1)[0];
    const question = whole.indexOf("?");
    let path = question < 0 ? whole : whole.slice(0, question);
    if (SECRET.test(path)) path = path.split("/").map((part) => (SECRET.test(part) ? MASK : part)).join("/"); // prettier-ignore
    if (question >= 0 && settings.url === "query") {
      path += `?${whole.slice(question + 1).split("&").map(maskedParameter).join("&")}`;
    }
    return path.length > PATH_CHARACTERS ? path.slice(0, PATH_CHARACTERS) : path;
  }

  function maskedParameter(parameter) {
    const equals = parameter.indexOf("=");
    if (equals < 0) return BARE_NAME.test(parameter) ? parameter : MASK;
    const name = parameter.slice(0, equals);
    return `${SECRET.test(name) ? MASK : name}=${MASK}`;
  }

  function chosen(find) {
    if (settings.headers.length === 0) return undefined;
    const found = {};
    for (const name of settings.headers) {
      const value = find(name);
      if (value !== undefined) found[name] = cut(String(value), HEADER_BYTES);
    }
    return Object.keys(found).length === 0 ? undefined : found;
  }

  function cut(text, bytes) {
    let short = text.slice(0, bytes);
    while (Buffer.byteLength(short) > bytes) short = short.slice(0, -1);
    return short;
  }

  /** Return a header of undici's list of alternating names and values, which are buffers or strings. */
  function rawHeader(list, name) {
    for (let i = 0; list && i + 1 < list.length; i += 2) {
      if (list[i].length === name.length && list[i].toString("latin1").toLowerCase() === name) {
        return list[i + 1].toString("latin1");
      }
    }
    return undefined;
  }

  function length(value) {
    const bytes = value === undefined || value === null || value === "" ? NaN : Number(value);
    return Number.isSafeInteger(bytes) && bytes >= 0 ? bytes : undefined;
  }

  /** Return the code or the class of an error; its message may contain a URL. */
  function code(error) {
    if (error && typeof error.code === "string" && IDENTIFIER.test(error.code)) return error.code;
    return error && typeof error.name === "string" && IDENTIFIER.test(error.name) ? error.name : "Error";
  }

  function record(call, place, outcome) {
    const duration = call.began === undefined ? undefined : Math.round((clock() - call.began) * 1000) / 1000;
    send({
      call: place.method,
      host: place.host,
      port: place.port,
      path: place.path,
      status: outcome.status,
      durationMs: duration,
      requestBytes: outcome.requestBytes,
      responseBytes: outcome.responseBytes,
      headers: outcome.headers,
      error: outcome.error,
      requestId: call.requestId,
      trace: call.trace,
      time: call.time,
    });
  }

  /** Write one line. A full pipe loses it, and the next line that fits reports the number of lost ones. */
  function send(line) {
    if (retryAt !== 0 && clock() < retryAt) {
      lost += 1;
      return;
    }
    line.by = "node";
    line.pid = process.pid;
    if (thread !== 0) line.thread = thread;
    line.n = sent + 1;
    if (lost !== 0) line.lost = lost;
    if (failure !== null) line.hookError = code(failure);
    const reported = lost;
    try {
      fs.writeSync(pipe, lineOf(line));
      sent += 1;
      lost -= reported;
      retryAt = 0;
      failure = null;
    } catch (error) {
      lost += 1;
      retryAt = clock() + RETRY_MS;
      if (error.code !== "EAGAIN") stop(); // EPIPE: the extension has closed the pipe
    }
  }

  /** Return the text of a line, shortened until it fits: first without headers, then with a shorter path. */
  function lineOf(line) {
    let text = `${JSON.stringify(line)}\n`;
    if (Buffer.byteLength(text) <= LINE_BYTES) return text;
    line.headers = undefined;
    text = `${JSON.stringify(line)}\n`;
    if (Buffer.byteLength(text) <= LINE_BYTES) return text;
    line.path = line.path && line.path.slice(0, SHORT_PATH_CHARACTERS);
    return `${JSON.stringify(line)}\n`;
  }

  function stop() {
    unsubscribe();
    fs.closeSync(pipe);
    pipe = -1;
  }
}

try {
  recordCalls();
} catch (error) {
  // The function comes first: it runs without the hook.
}
