// Rows of the time line: label, drawing and focus of each lane.

function shownLanes() {
  return model.lanes.filter(
    (lane) => inScope(lane.function) && (lane.function === null ? !state.filter : matches(lane.function)),
  );
}

function laneLabel(lane) {
  const owner = lane.function === null ? "other functions" : functionName(lane.function);
  const own = state.scope !== null || model.functions.length === 1;
  const facts = `${compact(lane.invocations)} inv.${lane.failed ? `, ${compact(lane.failed)} failed` : ""}`;
  const who = lane.environment === null ? counted(lane.environments, "environment") : short(lane.environment);
  const [first, second] = own
    ? [who, facts]
    : [owner, `${lane.environment === null ? `${count(lane.environments)} env.` : who} \u00b7 ${facts}`];
  return el(
    "div",
    { class: "label" },
    el("div", { class: "first", title: visible(owner) }, name(first)),
    el("div", { class: "second" }, visible(second)),
  );
}

function laneSummary(lane) {
  const parts = [
    ...laneName(lane),
    counted(lane.invocations, "invocation"),
    `${count(lane.failed)} failed`,
    counted(lane.objects, "object"),
  ];
  const faults = lane.faults.map((number) => faultText(model.faults[number]));
  if (faults.length) parts.push(`faults: ${faults.slice(0, 5).join("; ")}`);
  if (lane.losses.length)
    parts.push(lane.losses.length === 1 ? "1 reported loss" : `${count(lane.losses.length)} reported losses`);
  if (!lane.final) parts.push("still open");
  return visible(parts.join(", "));
}

function laneRow(lane, number) {
  const shared = lane.environment === null;
  const drawing = svg("svg", { preserveAspectRatio: "none", "aria-hidden": "true" });
  const node = el(
    "div",
    {
      class: `lane ${shared ? "shared" : ""} ${lane.faults.length ? "faulty" : ""}`,
      role: "img",
      tabindex: number === active ? 0 : -1,
      "aria-label": laneSummary(lane),
      focus: () => {
        setActive(number);
      },
    },
    laneLabel(lane),
    drawing,
  );
  return { lane, node, drawing, focus: svg("rect", { class: "focus", visibility: "hidden" }) };
}

function drawRow(row) {
  const height = row.lane.environment === null ? SHARED_HEIGHT : HEIGHT;
  const width = plotWidth();
  row.drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
  const shapes =
    row.lane.environment === null ? sharedShapes(row.lane, scale, width) : environmentShapes(row.lane, scale, width);
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
  for (const [attribute, value] of Object.entries({
    x: x - 2,
    y: Math.max(1, y - 2),
    width: width + 4,
    height: (height ?? full) + 3,
    rx: 2,
  })) {
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
  const keys = [
    ["\u2191 \u2193", "lane"],
    ["\u2190 \u2192", "mark"],
    ["+ \u2212", "zoom"],
    ["0", "all"],
    ["Shift+\u2190 \u2192", "move"],
  ];
  const help = keys.flatMap(([key, meaning]) => [el("kbd", {}, key), ` ${meaning}\u2002`]);
  const note = shared
    ? `${counted(shared, "lane")} show${shared === 1 ? "s" : ""} several environments as counts. `
    : "";
  const text = shared && state.scope !== null ? reportCommand(functionName(state.scope)) : null;
  const more = text
    ? [
        el(
          "button",
          { type: "button", class: "link", title: text, click: () => copy(text) },
          "Copy the command for a report with each environment",
        ),
        ". ",
      ]
    : [];
  byId("timeline-help").replaceChildren(note, ...more, "Drag to zoom. ", ...help);
}
