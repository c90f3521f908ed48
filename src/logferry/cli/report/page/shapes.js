// Shapes of a lane: many marks as few paths.

// Rectangles as one path. Rectangles that touch in the same row become one.
class Boxes {
  constructor() {
    this.parts = [];
    this.end = -Infinity;
    this.last = null;
  }

  add(x, y, width, height) {
    if (this.last && this.last[1] === y && this.last[3] === height && x <= this.end + 0.3) {
      this.end = Math.max(this.end, x + width);
      this.last[2] = this.end - this.last[0];
      return;
    }
    this.last = [x, y, width, height];
    this.end = x + width;
    this.parts.push(this.last);
  }

  path(kind) {
    const d = this.parts
      .map(([x, y, w, h]) => `M${x.toFixed(1)} ${y.toFixed(1)}h${w.toFixed(1)}v${h.toFixed(1)}h${(-w).toFixed(1)}z`)
      .join("");
    return d ? svg("path", { class: kind, d }) : null;
  }
}

// Shapes of a lane for one environment. `scale` gives the pixel of a time, `width` is that of the plot.
function environmentShapes(lane, scale, width) {
  const boxes = Object.fromEntries(["invoke", "tail", "cold", "fail", "unknown"].map((kind) => [kind, new Boxes()]));
  const shapes = { box: [], wait: [], stored: [], end: [], gap: [] };
  for (const mark of marksOf(lane)) {
    const reach = mark.kind === "object" ? (mark.row[column.object.stored] ?? mark.to) : mark.to;
    if (scale(reach) < -GAP_PIXELS || scale(mark.from) > width + GAP_PIXELS) continue;
    const [x, y, wide, height] = boxOf(mark, scale);
    if (mark.kind === "phase") boxes.cold.add(x, y, wide, height);
    else if (mark.kind === "invocation") addInvocation(boxes, mark, scale, [x, y, wide, height]);
    else if (mark.kind === "object") addObject(shapes, mark.row, scale, [x, y, wide, height]);
    else shapes.gap.push(gap(mark, x, wide, HEIGHT));
  }
  const [start, end] = [scale(lane.first), scale(lane.last)];
  return [
    svg("path", { class: "life", d: `M${start.toFixed(1)} 21H${end.toFixed(1)}` }),
    lane.final ? null : svg("path", { class: "open", d: `M${end.toFixed(1)} 21H${width}` }),
    pathOf("box", shapes.box),
    pathOf("wait", shapes.wait),
    pathOf("stored", shapes.stored),
    pathOf("end", shapes.end),
    boxes.cold.path("cold"),
    boxes.tail.path("tail"),
    boxes.invoke.path("invoke"),
    boxes.unknown.path("unknown"),
    boxes.fail.path("fail"),
    shapes.gap,
  ];
}

function addInvocation(boxes, mark, scale, [x, y, width, height]) {
  const { responded, result } = column.invocation;
  const kind = ["invoke", "fail", "unknown"][mark.row[result]];
  boxes[kind].add(x, y, width, height);
  const answer = mark.row[responded];
  if (kind === "invoke" && answer !== null && width > 4) {
    const from = scale(mark.from + answer);
    if (x + width - from > 1) {
      boxes.invoke.last[2] = from - boxes.invoke.last[0];
      boxes.invoke.end = from;
      boxes.tail.add(from, y, x + width - from, height);
    }
  }
}

function addObject(shapes, row, scale, [x, y, width, height]) {
  const { last, stored, final } = column.object;
  shapes.box.push(`M${x.toFixed(1)} ${y}h${width.toFixed(1)}v${height}h${(-width).toFixed(1)}z`);
  const isKnown = row[stored] !== null;
  if (!isKnown && !row[final]) return;
  const at = isKnown ? scale(row[stored]) : x + width;
  const from = Math.max(x + width, scale(row[last]));
  if (at - from > 1) shapes.wait.push(`M${from.toFixed(1)} 29H${at.toFixed(1)}`);
  if (row[final]) shapes.end.push(`M${(at - 3).toFixed(1)} 23h6v12h-6z`);
  else shapes.stored.push(`M${(at - 0.75).toFixed(1)} 22h1.5v14h-1.5z`);
}

function gap(mark, x, width, height) {
  return svg("rect", {
    class: mark.kind === "loss" ? "lost" : "gap",
    x: x.toFixed(1),
    y: 2,
    width: width.toFixed(1),
    height: height - 4,
    rx: 1.5,
  });
}

function pathOf(kind, parts) {
  return parts.length ? svg("path", { class: kind, d: parts.join("") }) : null;
}

// Shapes of a lane that several environments share: one bar for each bin, with its failures and cold starts.
function sharedShapes(lane, scale, width) {
  const { invocations, failed, cold } = column.bin;
  const bars = { invoke: [], fail: [], cold: [], gap: [] };
  const ground = SHARED_HEIGHT - 4;
  const tall = (number) => (number ? Math.max(2.5, (ground - 8) * Math.sqrt(number / lane.busiest)) : 0);
  for (const mark of marksOf(lane)) {
    const [x, , wide] = boxOf(mark, scale);
    if (x + wide < 0 || x > width) continue;
    if (isGap(mark)) {
      bars.gap.push(gap(mark, x, wide, SHARED_HEIGHT));
      continue;
    }
    const bar = (top, height) =>
      `M${(x + 0.3).toFixed(1)} ${top.toFixed(1)}h${Math.max(1, wide - 0.6).toFixed(1)}v${height.toFixed(1)}h${(-Math.max(1, wide - 0.6)).toFixed(1)}z`;
    const height = tall(mark.row[invocations]),
      red = tall(mark.row[failed]);
    bars.invoke.push(bar(ground - height, height));
    if (red) bars.fail.push(bar(ground - red, red));
    if (mark.row[cold]) bars.cold.push(bar(3, 2.5));
  }
  return [
    svg("path", {
      class: "life",
      d: `M${scale(lane.first).toFixed(1)} ${ground + 0.5}H${scale(lane.last).toFixed(1)}`,
    }),
    pathOf("invoke", bars.invoke),
    pathOf("fail", bars.fail),
    pathOf("cold", bars.cold),
    bars.gap,
  ];
}
