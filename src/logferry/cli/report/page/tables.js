// Tables of errors, invocations, faults and costs.

const FIRST_ROWS = 8, MORE_ROWS = 50;

// A table with its first rows, and a button for more.
function table(box, columns, rows, empty) {
  if (!rows.length) return box.replaceChildren(el("p", { class: "note muted" }, empty));
  let shown = FIRST_ROWS;
  const body = el("tbody");
  const more = el("button", { type: "button", class: "link", click: () => {
    const first = shown;
    shown += MORE_ROWS;
    fill();
    body.rows[first]?.querySelector("button")?.focus();
  } });
  const holder = el("p", { class: "note small more-rows" }, more);
  const fill = () => {
    body.append(...rows.slice(body.rows.length, shown).map((row) => el("tr", {}, columns.map(([, cell, kind = ""]) => el("td", { class: kind }, cell(row))))));
    holder.hidden = shown >= rows.length;
    more.textContent = `Show more (${count(rows.length - Math.min(shown, rows.length))})`;
  };
  fill();
  return box.replaceChildren(el("div", { class: "scroll" }, el("table", { class: "table" },
    el("thead", {}, el("tr", {}, columns.map(([label, , kind = ""]) => el("th", { scope: "col", class: kind }, label)))), body)), holder);
}

function severalFunctions() {
  return state.scope === null && model.functions.length > 1;
}

function functionColumn(of) {
  return severalFunctions() ? [["Function", (row) => (of(row) === null ? "not listed" : name(functionName(of(row)))), "name"]] : [];
}

// Errors of one type in all functions of the scope, most frequent first.
function errorTypes() {
  const types = new Map();
  for (const row of model.errors.filter((each) => inScope(each.function))) {
    const key = JSON.stringify([row.status, row.error]);
    const type = types.get(key) ?? { status: row.status, error: row.error, times: 0, latest: 0, functions: new Set(), ids: [] };
    type.times += row.times;
    type.functions.add(row.function);
    type.latest = Math.max(type.latest, row.latest);
    if (type.ids.length < 3) type.ids.push(...row.requests.slice(0, 3 - type.ids.length).map((request) => [row.function, ...request]));
    types.set(key, type);
  }
  return [...types.values()].sort((one, other) => other.times - one.times || other.latest - one.latest);
}

function showErrors() {
  const owners = (row) => {
    const [first, ...others] = row.functions;
    return others.length || first === null ? counted(row.functions.size, "function") : name(functionName(first));
  };
  table(byId("errors"), [
    ["Type", (row) => [name(row.error || row.status), row.error ? el("span", { class: "tag" }, name(row.status)) : null], "name"],
    ...(severalFunctions() ? [["Functions", owners, "name"]] : []),
    ["Count", (row) => count(row.times), "right"],
    ["Share of failed", (row) => percent(row.times, totals().failed), "right optional"],
    ["Last (UTC)", (row) => moment(row.latest, 1000), "nowrap"],
    ["Requests", (row) => row.ids.map(([owner, id, start]) => el("div", {}, requestButton(functionName(owner), id, start)))],
  ], errorTypes(), "No failed invocations.");
}

const LISTS = { slowest: "Slowest", failed: "Latest failed" };
let listed = "slowest";

function showChoice() {
  byId("invocations-choice").replaceChildren(...Object.entries(LISTS).map(([kind, label]) => el("button",
    { type: "button", "aria-pressed": String(listed === kind), "data-list": kind, click: () => {
      listed = kind;
      showInvocations();
      byId("invocations-choice").querySelector(`[data-list="${kind}"]`).focus();
    } }, label)));
}

function showInvocations() {
  showChoice();
  const at = column.invocation;
  table(byId("invocations"), [
    ["Request", (row) => requestButton(functionName(row[at.function]), row[at.request_id], row[at.start])],
    ...functionColumn((row) => row[at.function]),
    ["Environment", (row) => name(short(row[at.environment]), { class: "code", title: visible(row[at.environment]) }), "optional"],
    ["Start (UTC)", (row) => moment(row[at.start], 1000), "nowrap"],
    ["Duration", (row) => duration(row[at.took]), "right"],
    ["Cold start", (row) => (row[at.init] === null ? "" : duration(row[at.init])), "right optional"],
    ["Memory", (row) => (row[at.used_mb] === null ? DASH : `${count(row[at.used_mb])} of ${count(row[at.memory_mb] ?? 0)} MB`), "right optional"],
    ["Result", (row) => (row[at.result] === 1 ? el("span", { class: "bad" }, name(row[at.error] || row[at.status])) : RESULTS[row[at.result]]), "result"],
  ], model[listed].filter((row) => inScope(row[at.function])), listed === "failed" ? "No failed invocations." : "No invocation with a duration.");
}

function showFaults() {
  const rows = model.faults.map((fault, number) => ({ ...fault, number })).filter((fault) => inScope(fault.function));
  const { open } = totals();
  const openText = open
    ? `${counted(open, "environment")} ${open === 1 ? "has" : "have"} no final object: still running, or ended without a Shutdown phase. Records after the last object cannot be verified.`
    : "Each environment has its final object.";
  const box = el("div");
  table(box, [
    ["Fault", (row) => el("span", { class: "bad" }, visible(faultText(row))), "name"],
    ...functionColumn((row) => row.function),
    ["Environment", (row) => (row.environment === null ? DASH : name(row.environment, { class: "code" }))],
    ["Between (UTC)", (row) => (row.from === null ? DASH : `${moment(row.from, 1000)} ${DASH} ${clock(model.window.start + row.to)}`), "nowrap optional"],
    ["", (row) => (row.from === null ? null : el("button", { type: "button", class: "quiet", "aria-label": `Show on the time line: ${visible(faultText(row))}`, click: () => showFault(row.number) }, "Show")), "right"],
  ], rows, model.proof.unreadable ? "No fault in the objects that could be read." : "\u2713 No record is missing or duplicated.");
  const unlisted = model.proof.faults - model.faults.length;
  byId("faults-list").replaceChildren(box, el("p", { class: "note small muted" },
    unlisted > 0 && state.scope === null ? `${counted(unlisted, "more fault")} of ${count(model.proof.faults)} are not listed. ` : "", openText),
  unreadableTable(), lossTable());
}

function unreadableTable() {
  if (!model.unreadable.length || state.scope !== null) return "";
  const box = el("div");
  table(box, [
    ["Unreadable object", ([key]) => name(key, { class: "code" }), "name"],
    ["Reason", ([, reason]) => name(reason), "name"],
  ], model.unreadable, "");
  const unlisted = model.proof.unreadable - model.unreadable.length;
  return el("div", {}, box, unlisted ? el("p", { class: "note small muted" }, `${counted(unlisted, "more object")} are not listed.`) : null);
}

function lossTable() {
  const rows = model.losses.filter((loss) => inScope(loss.function));
  if (!rows.length) return "";
  const box = el("div");
  table(box, [
    ["Reported loss", (row) => visible(row.reason || `dropped by ${row.by === "platform" ? "the platform before delivery" : "logferry"}`), "name"],
    ...functionColumn((row) => row.function),
    ["Environment", (row) => name(row.environment, { class: "code" })],
    ["Records", (row) => (row.records === null ? DASH : count(row.records)), "right"],
    ["Time (UTC)", (row) => moment(row.at, 1000), "nowrap optional"],
  ], rows, "");
  return box;
}

function showCost() {
  const { cost } = model;
  const most = Math.max(...cost.policies.map((row) => row.usd), 1e-9);
  const own = cost.policies.filter((row) => row.policy);
  const cheapest = own.reduce((best, row) => (!best || row.usd < best.usd ? row : best), null);
  const names = { CloudWatch: "CloudWatch Logs", "Lambda to S3": "Lambda\u2019s S3 destination" };
  const bar = (row) => {
    const meter = el("span", { class: `meter ${row.policy ? "" : "aws"}` });
    meter.style.width = `${(row.usd / most) * 100}%`;
    return meter;
  };
  const box = el("div");
  table(box, [
    ["Policy", (row) => [names[row.name] ?? row.name, row === cheapest && own.length > 1 ? el("span", { class: "tag best" }, "cheapest policy") : null, row.policy === "adaptive" ? el("span", { class: "tag" }, "default") : null], "nowrap"],
    ["", bar, "bars optional"],
    ["This window, USD", (row) => usd(row.usd * cost.month_share), "right"],
    ["Month at this rate, USD", (row) => usd(row.usd), "right"],
    ["Objects per month", (row) => (row.policy ? compact(Math.round(row.puts)) : DASH), "right optional"],
    ["Stored within", (row) => (row.delay === null ? DASH : duration(row.delay * 1000)), "right optional"],
  ], own.length ? cost.policies : [], "No invocations, so there is no rate to estimate from.");
  const coverage = cost.share < 0.9999 ? ` The estimate covers the ${counted(cost.functions, "function")} with most invocations (${percent(cost.share, 1)} of them).` : "";
  byId("cost").replaceChildren(box, el("p", { class: "note small muted" },
    `PUT requests of the ${counted(model.totals.objects, "object")} in this report: ${usd(cost.put_usd)} USD. The table is an estimate for all functions with the model of logferry cost, x86_64 and 30 days of retention.${coverage} Prices: ${cost.region}, ${cost.date}.`));
}

function showTables() {
  showErrors();
  showInvocations();
  showFaults();
}

on(["scope"], showTables);
