// Legend of the time line, and the hatches of missing records.

function hatch() {
  const pattern = svg(
    "pattern",
    { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("rect", { class: "hatch-ground", width: 6, height: 6 }),
    svg("line", { class: "hatch-line", x1: 1, x2: 1, y1: 0, y2: 6 }),
  );
  const sparse = svg(
    "pattern",
    { id: "hatch-lost", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(-45)" },
    svg("line", { class: "lost-line", x1: 1, x2: 1, y1: 0, y2: 6 }),
  );
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
    single && [
      "records in one object, and when it was stored",
      [box("box", 1.5, 14), svg("path", { class: "wait", d: "M15.5 7H21" }), box("stored", 21, 1.5, 0, 14)],
    ],
    single && ["environment ended", [box("end", 9, 6, 1, 12)]],
    single && ["still open", [svg("path", { class: "open", d: "M1 7H23" })]],
    model.losses.length > 0 && [
      "loss that is reported",
      [svg("rect", { class: "lost", x: 2, y: 1, width: 20, height: 12 })],
    ],
    ["records missing or wrong", [svg("rect", { class: "gap", x: 2, y: 1, width: 20, height: 12 })]],
  ];
  byId("legend").replaceChildren(
    ...entries.filter(Boolean).map(([text, shapes]) => el("span", {}, sample(shapes), text)),
  );
}
