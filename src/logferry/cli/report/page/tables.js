// Tables of errors and invocations.

const FIRST_ROWS = 8,
  MORE_ROWS = 50;

// A table with its first rows, and a button for more.
function table(box, columns, rows, empty) {
  if (!rows.length) return box.replaceChildren(el("p", { class: "note muted" }, empty));
  let shown = FIRST_ROWS;
  const body = el("tbody");
  const more = el("button", {
    type: "button",
    class: "link",
    click: () => {
      const first = shown;
      shown += MORE_ROWS;
      fill();
      body.rows[first]?.querySelector("button")?.focus();
    },
  });
  const holder = el("p", { class: "note small more-rows" }, more);
  const fill = () => {
    body.append(
      ...rows.slice(body.rows.length, shown).map((row) =>
        el(
          "tr",
          {},
          columns.map(([, cell, kind = ""]) => el("td", { class: kind }, cell(row))),
        ),
      ),
    );
    holder.hidden = shown >= rows.length;
    more.textContent = `Show more (${count(rows.length - Math.min(shown, rows.length))})`;
  };
  fill();
  return box.replaceChildren(
    el(
      "div",
      { class: "scroll" },
      el(
        "table",
        { class: "table" },
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            columns.map(([label, , kind = ""]) => el("th", { scope: "col", class: kind }, label)),
          ),
        ),
        body,
      ),
    ),
    holder,
  );
}

function severalFunctions() {
  return state.scope === null && model.functions.length > 1;
}

function functionColumn(of) {
  return severalFunctions()
    ? [["Function", (row) => (of(row) === null ? "not listed" : name(functionName(of(row)))), "name"]]
    : [];
}

// Errors of one type in all functions of the scope, most frequent first.
function errorTypes() {
  const types = new Map();
  for (const row of model.errors.filter((each) => inScope(each.function))) {
    const key = JSON.stringify([row.status, row.error]);
    const type = types.get(key) ?? {
      status: row.status,
      error: row.error,
      times: 0,
      latest: 0,
      functions: new Set(),
      ids: [],
    };
    type.times += row.times;
    type.functions.add(row.function);
    type.latest = Math.max(type.latest, row.latest);
    if (type.ids.length < 3)
      type.ids.push(...row.requests.slice(0, 3 - type.ids.length).map((request) => [row.function, ...request]));
    types.set(key, type);
  }
  return [...types.values()].sort((one, other) => other.times - one.times || other.latest - one.latest);
}

function showErrors() {
  const owners = (row) => {
    const [first, ...others] = row.functions;
    return others.length || first === null ? counted(row.functions.size, "function") : name(functionName(first));
  };
  table(
    byId("errors"),
    [
      [
        "Type",
        (row) => [name(row.error || row.status), row.error ? el("span", { class: "tag" }, name(row.status)) : null],
        "name",
      ],
      ...(severalFunctions() ? [["Functions", owners, "name"]] : []),
      ["Count", (row) => count(row.times), "right"],
      ["Share of failed", (row) => percent(row.times, totals().failed), "right optional"],
      ["Last (UTC)", (row) => moment(row.latest, 1000), "nowrap"],
      [
        "Requests",
        (row) => row.ids.map(([owner, id, start]) => el("div", {}, requestButton(functionName(owner), id, start))),
      ],
    ],
    errorTypes(),
    "No failed invocations.",
  );
}

const LISTS = { slowest: "Slowest", failed: "Latest failed" };
let listed = "slowest";

function showChoice() {
  byId("invocations-choice").replaceChildren(
    ...Object.entries(LISTS).map(([kind, label]) =>
      el(
        "button",
        {
          type: "button",
          "aria-pressed": String(listed === kind),
          "data-list": kind,
          click: () => {
            listed = kind;
            showInvocations();
            byId("invocations-choice").querySelector(`[data-list="${kind}"]`).focus();
          },
        },
        label,
      ),
    ),
  );
}

function showInvocations() {
  showChoice();
  const at = column.invocation;
  table(
    byId("invocations"),
    [
      ["Request", (row) => requestButton(functionName(row[at.function]), row[at.request_id], row[at.start])],
      ...functionColumn((row) => row[at.function]),
      [
        "Environment",
        (row) => name(short(row[at.environment]), { class: "code", title: visible(row[at.environment]) }),
        "optional",
      ],
      ["Start (UTC)", (row) => moment(row[at.start], 1000), "nowrap"],
      ["Duration", (row) => duration(row[at.took]), "right"],
      ["Cold start", (row) => (row[at.init] === null ? "" : duration(row[at.init])), "right optional"],
      [
        "Memory",
        (row) => (row[at.used_mb] === null ? DASH : `${count(row[at.used_mb])} of ${count(row[at.memory_mb] ?? 0)} MB`),
        "right optional",
      ],
      [
        "Result",
        (row) =>
          row[at.result] === 1
            ? el("span", { class: "bad" }, name(row[at.error] || row[at.status]))
            : RESULTS[row[at.result]],
        "result",
      ],
    ],
    model[listed].filter((row) => inScope(row[at.function])),
    listed === "failed" ? "No failed invocations." : "No invocation with a duration.",
  );
}

function showTables() {
  showErrors();
  showInvocations();
  showFaults();
}

on(["scope"], showTables);
