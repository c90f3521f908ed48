// Shell commands that the page offers to copy.

const CONTROL = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/;

// An argument for a POSIX shell.
function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

// The command, or null if an argument has control characters: a terminal could execute a pasted line break.
function command(...words) {
  return words.some((word) => CONTROL.test(word)) ? null : words.map(quoted).join(" ");
}

// The time of the start limits the objects that the command lists and reads.
function logsCommand(functionName, requestId, start) {
  return command(
    "logferry",
    "logs",
    model.subject.destination,
    ...functionOption(functionName),
    "--request-id",
    requestId,
    "--since",
    isoTime(start),
  );
}

function reportCommand(functionName) {
  return command(
    "logferry",
    "report",
    model.subject.destination,
    ...functionOption(functionName),
    ...windowOptions(0, model.window.length),
  );
}

function verifyCommand(from, to) {
  return command("logferry", "verify", model.subject.destination, ...windowOptions(from, to));
}

function functionOption(functionName) {
  return functionName ? ["--function", functionName] : [];
}

function windowOptions(from, to) {
  return ["--since", isoTime(from), "--until", isoTime(to + 1)];
}

// A request ID as a button that copies the command for its records.
function requestButton(functionName, requestId, start) {
  const text = logsCommand(functionName, requestId, start);
  if (!text) return name(requestId, { class: "code" });
  return el(
    "button",
    {
      type: "button",
      class: "id",
      title: `Copy: ${text}`,
      "aria-label": `${requestId}: copy the logferry logs command`,
      click: () => copy(text),
    },
    name(requestId),
  );
}

function commandLine(text) {
  if (!text) return null;
  return el(
    "div",
    { class: "command" },
    el("code", {}, text),
    el("button", { type: "button", class: "quiet", click: () => copy(text) }, "Copy command"),
  );
}
