// The time line: axis, lanes, zoom, and the choice of a mark with pointer or keyboard.

const LEAST_RANGE = 20;
const DRAG_PIXELS = 6;
const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5,
  72e5, 108e5, 216e5, 432e5, 864e5, 1728e5, 6048e5, 2592e6];
const plot = byId("plot");
const ticks = el("div", { class: "ticks", "aria-hidden": "true" });
const guides = el("div", { class: "guides", "aria-hidden": "true" });
const lanesBox = el("div", { class: "lanes", role: "application", "aria-roledescription": "time line",
  "aria-label": "Lanes of the environments", "aria-describedby": "timeline-help" });
const corner = el("div", { class: "corner" });
const cross = el("div", { class: "cross", hidden: true });
const now = el("div", { class: "now", hidden: true });
const range = el("div", { class: "range", hidden: true });
let rows = [];
let chosen = { mark: null, lane: null };
let active = 0;
let drag = null;

function scale(time) {
  return ((time - state.from) / (state.to - state.from)) * plotWidth();
}

function timeAt(x) {
  return state.from + (x / plotWidth()) * (state.to - state.from);
}

let cachedWidth = 0;

function plotWidth() {
  return cachedWidth || (cachedWidth = Math.max(120, ticks.clientWidth));
}

function shownLanes() {
  return model.lanes.filter((lane) => inScope(lane.function) && (lane.function === null ? !state.filter : matches(lane.function)));
}

function laneLabel(lane) {
  const owner = lane.function === null ? "other functions" : functionName(lane.function);
  const own = state.scope !== null || model.functions.length === 1;
  const facts = `${compact(lane.invocations)} inv.${lane.failed ? `, ${compact(lane.failed)} failed` : ""}`;
  const who = lane.environment === null ? counted(lane.environments, "environment") : short(lane.environment);
  const [first, second] = own ? [who, facts] : [owner, `${lane.environment === null ? `${count(lane.environments)} env.` : who} \u00b7 ${facts}`];
  return el("div", { class: "label" },
    el("div", { class: "first", title: visible(owner) }, name(first)), el("div", { class: "second" }, visible(second)));
}

function laneSummary(lane) {
  const parts = [...laneName(lane), counted(lane.invocations, "invocation"), `${count(lane.failed)} failed`, counted(lane.objects, "object")];
  const faults = lane.faults.map((number) => faultText(model.faults[number]));
  if (faults.length) parts.push(`faults: ${faults.slice(0, 5).join("; ")}`);
  if (lane.losses.length) parts.push(lane.losses.length === 1 ? "1 reported loss" : `${count(lane.losses.length)} reported losses`);
  if (!lane.final) parts.push("still open");
  return visible(parts.join(", "));
}

function laneRow(lane, number) {
  const shared = lane.environment === null;
  const drawing = svg("svg", { preserveAspectRatio: "none", "aria-hidden": "true" });
  const node = el("div", { class: `lane ${shared ? "shared" : ""} ${lane.faults.length ? "faulty" : ""}`, role: "img",
    tabindex: number === active ? 0 : -1, "aria-label": laneSummary(lane), focus: () => { setActive(number); } },
  laneLabel(lane), drawing);
  return { lane, node, drawing, focus: svg("rect", { class: "focus", visibility: "hidden" }) };
}

function drawRow(row) {
  const height = row.lane.environment === null ? SHARED_HEIGHT : HEIGHT;
  const width = plotWidth();
  row.drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const shapes = row.lane.environment === null ? sharedShapes(row.lane, scale, width) : environmentShapes(row.lane, scale, width);
  filled(row.drawing, {}, []).replaceChildren();
  filled(row.drawing, {}, [shapes, row.focus]);
  drawFocus(row);
}

function drawFocus(row) {
  const isChosen = chosen.mark && chosen.lane === row.lane;
  row.focus.setAttribute("visibility", isChosen ? "visible" : "hidden");
  if (!isChosen) return;
  const [x, y, width, height] = boxOf(chosen.mark, scale);
  const full = (row.lane.environment === null ? SHARED_HEIGHT : HEIGHT) - 4;
  for (const [attribute, value] of Object.entries({ x: x - 2, y: Math.max(1, y - 2), width: width + 4, height: (height ?? full) + 3, rx: 2 })) {
    row.focus.setAttribute(attribute, value);
  }
}

function showLanes() {
  const lanes = shownLanes();
  active = Math.min(active, Math.max(0, lanes.length - 1));
  rows = lanes.map(laneRow);
  const single = lanes.filter((lane) => lane.environment !== null).length;
  corner.textContent = single === lanes.length ? counted(lanes.length, "environment") : counted(lanes.length, "lane");
  lanesBox.replaceChildren(...rows.map((row) => row.node), guides);
  if (!lanes.length) lanesBox.prepend(el("p", { class: "empty" }, "No lanes: no function matches the filter."));
  showShareNote(lanes, single);
  showRange();
}

function showShareNote(lanes, single) {
  const shared = lanes.length - single;
  const keys = [["\u2191 \u2193", "lane"], ["\u2190 \u2192", "mark"], ["+ \u2212", "zoom"], ["0", "all"], ["Shift+\u2190 \u2192", "move"]];
  const help = keys.flatMap(([key, meaning]) => [el("kbd", {}, key), ` ${meaning}\u2002`]);
  const note = shared ? `${counted(shared, "lane")} show${shared === 1 ? "s" : ""} several environments as counts. ` : "";
  const text = shared && state.scope !== null ? reportCommand(functionName(state.scope)) : null;
  const more = text ? [el("button", { type: "button", class: "link", title: text, click: () => copy(text) }, "Copy the command for a report with each environment"), ". "] : [];
  byId("timeline-help").replaceChildren(note, ...more, "Drag to zoom. ", ...help);
}

function showRange() {
  cachedWidth = 0;
  const step = STEPS.find((each) => ((state.to - state.from) / each) * 74 <= plotWidth()) ?? STEPS.at(-1);
  const start = model.window.start;
  const first = Math.ceil((start + state.from) / step) * step;
  const places = [];
  for (let at = first; at <= start + state.to; at += step) places.push(at - start);
  const days = state.to - state.from > 864e5 || day(start + state.from) !== day(start + state.to);
  const label = (at) => (step >= 864e5 ? day(start + at) : `${days && clock(start + at) === "00:00:00" ? `${day(start + at)} ` : ""}${clock(start + at, step)}`);
  const share = (at) => `${((at - state.from) / (state.to - state.from)) * 100}%`;
  const hasSpace = (at) => scale(at) < plotWidth() - 7 * label(at).length;
  ticks.replaceChildren(...places.map((at) => placed(el("span", { class: "tick" }, hasSpace(at) ? label(at) : ""), share(at))), now);
  guides.replaceChildren(...places.map((at) => placed(el("div", { class: "grid" }), share(at))), cross, range);
  guides.style.height = `${rows.reduce((sum, row) => sum + (row.lane.environment === null ? SHARED_HEIGHT : HEIGHT) + 1, 0)}px`;
  for (const row of rows) drawRow(row);
  showTools();
}

function placed(node, left) {
  node.style.left = left;
  return node;
}

// --- zoom

function setRange(from, to) {
  const span = Math.min(length, Math.max(LEAST_RANGE, to - from));
  const start = Math.max(0, Math.min(from, length - span));
  change("range", { from: start, to: start + span });
}

function zoom(factor, centre = (state.from + state.to) / 2) {
  setRange(centre - (centre - state.from) * factor, centre + (state.to - centre) * factor);
}

function pan(share) {
  const by = (state.to - state.from) * share;
  setRange(state.from + by, state.to + by);
}

function showTools() {
  const whole = state.from === 0 && state.to === length;
  const buttons = { "Zoom in": () => zoom(0.5), "Zoom out": () => zoom(2), "Whole window": () => setRange(0, length) };
  const signs = { "Zoom in": "+", "Zoom out": "\u2212", "Whole window": "Whole window" };
  const box = byId("timeline-tools");
  if (!box.children.length) {
    box.append(el("span", { class: "muted small", id: "shown-range" }));
    for (const [label, action] of Object.entries(buttons)) {
      box.append(el("button", { type: "button", class: `quiet ${signs[label].length < 2 ? "square" : ""}`, "aria-label": label, click: action }, signs[label]));
    }
  }
  byId("shown-range").textContent = whole ? "" : `${duration(state.to - state.from)} from ${moment(state.from, 1000)} UTC`;
  box.querySelector('[aria-label="Zoom out"]').disabled = whole;
  box.querySelector('[aria-label="Whole window"]').disabled = whole;
}

// --- choice

function setActive(number) {
  if (rows[active]) rows[active].node.tabIndex = -1;
  active = number;
  rows[active].node.tabIndex = 0;
}

function select(mark, lane) {
  chosen = { mark, lane };
  for (const row of rows) drawFocus(row);
  showDetails(mark, lane);
}

// Select a mark and make it visible.
function reveal(mark, lane) {
  const shown = state.to - state.from, taken = mark.to - mark.from;
  if (isGap(mark) && taken > shown * 0.8) setRange(mark.from - taken * 0.3, mark.to + taken * 0.3);
  else if (mark.from < state.from || mark.from > state.to) setRange(mark.from - shown / 2, mark.from + shown / 2);
  select(mark, lane);
}

function showFault(number) {
  const fault = model.faults[number];
  const lane = model.lanes.find((each) => each.faults.includes(number));
  if (!lane) return;
  if (!inScope(lane.function)) change("scope", { scope: null });
  if (!matches(lane.function)) {
    byId("search").value = "";
    change("filter", { filter: "" });
  }
  const mark = marksOf(lane).find((each) => each.row === fault);
  const row = rows.find((each) => each.lane === lane);
  byId("timeline").scrollIntoView({ block: "start" });
  row.node.focus();
  reveal(mark, lane);
}

function step(by) {
  const row = rows[active];
  const marks = marksOf(row.lane);
  if (!marks.length) return;
  const at = chosen.lane === row.lane ? marks.indexOf(chosen.mark) : by > 0 ? marks.findIndex((mark) => mark.to >= state.from) - 1 : marks.length;
  const next = Math.max(0, Math.min(marks.length - 1, at + by));
  reveal(marks[next], row.lane);
}

function moveLane(to) {
  const number = Math.max(0, Math.min(rows.length - 1, to));
  rows[number].node.focus();
  rows[number].node.scrollIntoView({ block: "nearest" });
}

const KEYS = {
  ArrowRight: () => step(1), ArrowLeft: () => step(-1),
  ArrowDown: () => moveLane(active + 1), ArrowUp: () => moveLane(active - 1),
  PageDown: () => moveLane(active + 10), PageUp: () => moveLane(active - 10),
  Home: () => step(-Infinity), End: () => step(Infinity),
  "+": () => zoom(0.5, chosen.mark ? (chosen.mark.from + chosen.mark.to) / 2 : undefined),
  "-": () => zoom(2, chosen.mark ? (chosen.mark.from + chosen.mark.to) / 2 : undefined),
  0: () => setRange(0, length),
  Escape: () => select(null, null),
};
KEYS["="] = KEYS["+"];

lanesBox.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !rows.length) return;
  const moves = { ArrowLeft: -0.25, ArrowRight: 0.25 };
  const action = event.shiftKey && moves[event.key] ? () => pan(moves[event.key]) : KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

// --- pointer

function rowAt(event) {
  const node = event.target.closest?.(".lane");
  const drawing = event.target.closest?.("svg");
  const row = node && drawing ? rows.find((each) => each.node === node) : null;
  if (!row) return null;
  const area = row.drawing.getBoundingClientRect();
  return { row, x: event.clientX - area.left, y: event.clientY - area.top };
}

function showCross(x) {
  cross.hidden = now.hidden = x === null;
  if (x === null) return;
  cross.style.left = now.style.left = `${x}px`;
  now.textContent = clock(model.window.start + timeAt(x), (state.to - state.from) / plotWidth() < 300 ? 1 : 1000);
}

lanesBox.addEventListener("pointermove", (event) => {
  if (drag) {
    const x = Math.max(0, Math.min(plotWidth(), event.clientX - drag.left));
    drag.to = x;
    range.hidden = Math.abs(drag.to - drag.from) < DRAG_PIXELS;
    range.style.left = `${Math.min(drag.from, drag.to)}px`;
    range.style.width = `${Math.abs(drag.to - drag.from)}px`;
    showTip(null);
    return;
  }
  const found = rowAt(event);
  showCross(found ? found.x : null);
  showTip(found ? markAt(found.row.lane, found.x, found.y, scale) : null, event.clientX, event.clientY);
});

lanesBox.addEventListener("pointerleave", () => {
  showCross(null);
  showTip(null);
});

lanesBox.addEventListener("pointerdown", (event) => {
  const found = event.button === 0 && event.pointerType !== "touch" ? rowAt(event) : null;
  if (!found) return;
  drag = { from: found.x, to: found.x, left: event.clientX - found.x };
});

addEventListener("pointerup", () => {
  if (!drag) return;
  const { from, to } = drag;
  drag = null;
  range.hidden = true;
  if (Math.abs(to - from) < DRAG_PIXELS) return;
  dragged = true;
  setRange(timeAt(Math.min(from, to)), timeAt(Math.max(from, to)));
});

let dragged = false;

lanesBox.addEventListener("click", (event) => {
  if (dragged) {
    dragged = false;
    return;
  }
  const found = rowAt(event);
  if (!found) return;
  const mark = markAt(found.row.lane, found.x, found.y, scale);
  found.row.node.focus({ preventScroll: true });
  select(mark, mark ? found.row.lane : null);
});

lanesBox.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey) return;
  const found = rowAt(event);
  if (!found) return;
  event.preventDefault();
  zoom(event.deltaY > 0 ? 1.25 : 0.8, timeAt(found.x));
}, { passive: false });

function startTimeline() {
  plot.append(hatch(), el("div", { class: "axis" }, corner, ticks), lanesBox);
  showLegend();
  showLanes();
  new ResizeObserver(() => {
    if (ticks.clientWidth !== cachedWidth) showRange();
  }).observe(plot);
}

function hatch() {
  const pattern = svg("pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("rect", { class: "hatch-ground", width: 6, height: 6 }), svg("line", { class: "hatch-line", x1: 1, x2: 1, y1: 0, y2: 6 }));
  const sparse = svg("pattern", { id: "hatch-lost", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(-45)" },
    svg("line", { class: "lost-line", x1: 1, x2: 1, y1: 0, y2: 6 }));
  return svg("svg", { width: 0, height: 0, "aria-hidden": "true", class: "defs" }, svg("defs", {}, pattern, sparse));
}

function showLegend() {
  const sample = (...shapes) => svg("svg", { viewBox: "0 0 24 14", "aria-hidden": "true" }, shapes);
  const box = (kind, x, width, y = 2, height = 10) => svg("rect", { class: kind, x, width, y, height });
  const single = model.lanes.some((lane) => lane.environment !== null);
  const entries = [
    ["cold start", [box("cold", 2, 8), box("invoke", 10, 12)]],
    ["invocation, then extensions", [box("invoke", 2, 14), box("tail", 16, 6)]],
    ["failed", [box("fail", 9, 5, 0, 14)]],
    single && ["records in one object, and when it was stored", [box("box", 1.5, 14), svg("path", { class: "wait", d: "M15.5 7H21" }), box("stored", 21, 1.5, 0, 14)]],
    single && ["environment ended", [box("end", 9, 6, 1, 12)]],
    single && ["still open", [svg("path", { class: "open", d: "M1 7H23" })]],
    model.losses.length > 0 && ["loss that is reported", [svg("rect", { class: "lost", x: 2, y: 1, width: 20, height: 12 })]],
    ["records missing or wrong", [svg("rect", { class: "gap", x: 2, y: 1, width: 20, height: 12 })]],
  ];
  byId("legend").replaceChildren(...entries.filter(Boolean).map(([text, shapes]) => el("span", {}, sample(shapes), text)));
}

on(["scope", "filter"], () => {
  select(null, null);
  showLanes();
});
on(["range"], showRange);
