// The list of functions with search, order and choice.

const COLUMNS = [
  ["name", "Function", (f) => f.name.toLowerCase(), false],
  ["activity", "Activity", null, true],
  ["invocations", "Invocations", (f) => -f.invocations, false],
  ["failed", "Failed", (f) => -f.failed, false],
  ["cold", "Cold starts", (f) => -f.cold, true],
  ["p50", "p50", (f) => -(f.p50 ?? -1), true],
  ["p99", "p99", (f) => -(f.p99 ?? -1), false],
  ["objects", "Objects", (f) => -f.objects, true],
  ["size", "Stored", (f) => -f.size, true],
  ["faults", "Proof", (f) => -(f.faults * 1e6 + f.open), false],
];
const TALL = 12;
let order = "faults";

function sortedFunctions() {
  const key = COLUMNS.find(([id]) => id === order)[2];
  const numbers = model.functions.map((_, number) => number).filter(matches);
  const compare = (one, other) => {
    const [a, b] = [key(model.functions[one]), key(model.functions[other])];
    return a < b ? -1 : a > b ? 1 : model.functions[other].invocations - model.functions[one].invocations;
  };
  return numbers.sort(compare);
}

function spark(bins) {
  const width = model.bins.activity,
    most = Math.max(1, ...bins.map((bin) => bin[1]));
  const bar = (bin, number) => {
    const height = Math.max(1.5, 17 * Math.sqrt(number / most));
    return `M${bin} ${18 - height}h0.8V18h-0.8z`;
  };
  return svg(
    "svg",
    { class: "spark", viewBox: `0 0 ${width} 18`, preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("line", { class: "base", x1: 0, x2: width, y1: 17.5, y2: 17.5 }),
    svg("path", { class: "bar", d: bins.map(([bin, number]) => bar(bin, number)).join("") }),
    svg("path", {
      class: "failed",
      d: bins
        .filter((bin) => bin[2])
        .map(([bin, , failed]) => bar(bin, failed))
        .join(""),
    }),
  );
}

function functionRow(number) {
  const each = model.functions[number];
  const chosen = state.scope === number;
  const proof = each.faults
    ? el("span", { class: "bad" }, `\u2715 ${counted(each.faults, "fault")}`)
    : el(
        "span",
        {},
        el("span", { class: "ok" }, "\u2713 complete"),
        each.open ? el("span", { class: "tag" }, `${count(each.open)} open`) : null,
      );
  const cells = {
    name: el(
      "button",
      {
        type: "button",
        class: "link",
        "aria-pressed": String(chosen),
        click: () => change("scope", { scope: chosen ? null : number }),
      },
      name(each.name),
    ),
    activity: spark(each.activity),
    invocations: compact(each.invocations),
    failed: each.failed ? el("span", { class: "bad" }, compact(each.failed)) : "0",
    cold: compact(each.cold),
    p50: duration(each.p50),
    p99: duration(each.p99),
    objects: compact(each.objects),
    size: size(each.size),
    faults: proof,
  };
  return el(
    "tr",
    { class: chosen ? "chosen" : null },
    COLUMNS.map(([id, , , optional]) => {
      const right = !["name", "activity", "faults"].includes(id);
      const classes = [right && "right", id === "name" && "name", id === "faults" && "nowrap", optional && "optional"];
      return el("td", { class: classes.filter(Boolean).join(" ") }, cells[id]);
    }),
  );
}

function headCell([id, label, key, optional]) {
  const right = !["name", "activity", "faults"].includes(id);
  const attributes = {
    scope: "col",
    class: `${right ? "right " : ""}${optional ? "optional" : ""}`,
    "aria-sort": order === id ? (id === "name" ? "ascending" : "descending") : null,
  };
  if (!key) return el("th", attributes, label);
  const sort = () => {
    order = id;
    showFunctions();
    byId("functions-list").querySelector(`[data-order="${id}"]`).focus();
  };
  const arrow = order === id ? (id === "name" ? " \u2191" : " \u2193") : "";
  return el(
    "th",
    attributes,
    el("button", { type: "button", class: "sort", "data-order": id, click: sort }, label + arrow),
  );
}

function showFunctions() {
  if (model.functions.length < 2) return;
  byId("functions").hidden = false;
  const numbers = sortedFunctions();
  const tall = model.functions.length > TALL;
  const held = byId("functions-list").firstElementChild?.scrollTop ?? 0;
  const all = model.functions.length + model.other.functions;
  byId("functions-count").textContent =
    numbers.length < all ? `${count(numbers.length)} of ${counted(all, "function")}` : counted(all, "function");
  const list = el(
    "div",
    {
      class: `scroll ${tall ? "tall" : ""}`,
      tabindex: tall ? 0 : null,
      role: tall ? "region" : null,
      "aria-label": tall ? "List of functions" : null,
    },
    el(
      "table",
      { class: "table" },
      el("thead", {}, el("tr", {}, COLUMNS.map(headCell))),
      el("tbody", {}, numbers.map(functionRow)),
    ),
    numbers.length ? null : el("p", { class: "empty" }, "No function has this text in its name."),
  );
  const focused = document.activeElement?.closest?.("#functions-list tbody tr button")?.textContent;
  byId("functions-list").replaceChildren(list);
  list.scrollTop = held;
  if (focused) {
    [...list.querySelectorAll("tbody button")]
      .find((each) => each.textContent === focused)
      ?.focus({ preventScroll: true });
  }
}

byId("search").addEventListener("input", (event) => {
  change("filter", { filter: event.target.value.trim().toLowerCase() });
});
on(["scope", "filter"], showFunctions);
