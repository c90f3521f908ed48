// The time line: its elements, its state, and its start.

const LEAST_RANGE = 20;
const DRAG_PIXELS = 6;
const STEPS = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 15e3, 3e4, 6e4, 12e4, 3e5, 6e5, 9e5, 18e5, 36e5, 72e5, 108e5,
  216e5, 432e5, 864e5, 1728e5, 6048e5, 2592e6,
];
const plot = byId("plot");
const ticks = el("div", { class: "ticks", "aria-hidden": "true" });
const guides = el("div", { class: "guides", "aria-hidden": "true" });
const lanesBox = el("div", {
  class: "lanes",
  role: "application",
  "aria-roledescription": "time line",
  "aria-label": "Lanes of the environments",
  "aria-describedby": "timeline-help",
});
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

function startTimeline() {
  plot.append(hatch(), el("div", { class: "axis" }, corner, ticks), lanesBox);
  showLegend();
  showLanes();
  new ResizeObserver(() => {
    if (ticks.clientWidth !== cachedWidth) showRange();
  }).observe(plot);
}

on(["scope", "filter"], () => {
  select(null, null);
  showLanes();
});
on(["range"], showRange);
