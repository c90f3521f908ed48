// Range of the time line: axis, zoom and its buttons.

function showRange() {
  cachedWidth = 0;
  const step = STEPS.find((each) => ((state.to - state.from) / each) * 74 <= plotWidth()) ?? STEPS.at(-1);
  const start = model.window.start;
  const first = Math.ceil((start + state.from) / step) * step;
  const places = [];
  for (let at = first; at <= start + state.to; at += step) places.push(at - start);
  const days = state.to - state.from > 864e5 || day(start + state.from) !== day(start + state.to);
  const label = (at) =>
    step >= 864e5
      ? day(start + at)
      : `${days && clock(start + at) === "00:00:00" ? `${day(start + at)} ` : ""}${clock(start + at, step)}`;
  const share = (at) => `${((at - state.from) / (state.to - state.from)) * 100}%`;
  const hasSpace = (at) => scale(at) < plotWidth() - 7 * label(at).length;
  ticks.replaceChildren(
    ...places.map((at) => placed(el("span", { class: "tick" }, hasSpace(at) ? label(at) : ""), share(at))),
    now,
  );
  guides.replaceChildren(...places.map((at) => placed(el("div", { class: "grid" }), share(at))), cross, range);
  guides.style.height = `${rows.reduce((sum, row) => sum + (row.lane.environment === null ? SHARED_HEIGHT : HEIGHT) + 1, 0)}px`;
  for (const row of rows) drawRow(row);
  showTools();
}

function placed(node, left) {
  node.style.left = left;
  return node;
}

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
      box.append(
        el(
          "button",
          {
            type: "button",
            class: `quiet ${signs[label].length < 2 ? "square" : ""}`,
            "aria-label": label,
            click: action,
          },
          signs[label],
        ),
      );
    }
  }
  byId("shown-range").textContent = whole
    ? ""
    : `${duration(state.to - state.from)} from ${moment(state.from, 1000)} UTC`;
  box.querySelector('[aria-label="Zoom out"]').disabled = whole;
  box.querySelector('[aria-label="Whole window"]').disabled = whole;
}
