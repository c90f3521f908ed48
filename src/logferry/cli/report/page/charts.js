// Histograms with logarithmic bins.

const CHART = { height: 170, left: 40, right: 8, top: 26, bottom: 24 };
const LEAST_BINS = 12;
const LABELS = [
  [1, "1 ms"],
  [10, "10 ms"],
  [100, "100 ms"],
  [1e3, "1 s"],
  [1e4, "10 s"],
  [6e4, "1 min"],
  [6e5, "10 min"],
  [36e5, "1 h"],
  [36e6, "10 h"],
  [864e5, "1 d"],
];

function histogram(box, { bins, each, noun, marks, kind, empty }) {
  const numbers = [...bins.keys()];
  if (!numbers.length) return box.replaceChildren(el("p", { class: "note muted" }, empty));
  const spare = Math.max(0, LEAST_BINS - (Math.max(...numbers) - Math.min(...numbers)));
  const low = Math.min(...numbers) - 1 - Math.floor(spare / 2),
    high = Math.max(...numbers) + 2 + Math.ceil(spare / 2);
  const most = Math.max(...[...bins.values()].map(([number]) => number));
  const width = Math.max(240, box.clientWidth);
  const { height, left, right, top, bottom } = CHART;
  const x = (bin) => left + ((bin - low) / (high - low)) * (width - left - right);
  const y = (number) => height - bottom - (number / most) * (height - top - bottom);
  const place = (ms) => x(Math.log10(Math.max(ms, 0.1)) * each);
  const wide = Math.max(1, x(1) - x(0) - 1);
  const bar = (class_, bin, from, to) =>
    svg("rect", {
      class: class_,
      x: x(bin),
      y: y(to),
      width: wide,
      height: Math.max(to > from ? 1.5 : 0, y(from) - y(to)),
    });
  const active = svg("rect", {
    class: "active",
    y: top - 8,
    height: height - bottom - top + 8,
    width: wide,
    visibility: "hidden",
  });
  const sum = [...bins.values()].reduce((total, [number]) => total + number, 0);
  const idle = `${counted(sum, noun)}; ${marks.map(([label, ms]) => `${label} ${duration(ms)}`).join(", ")}`;
  const readout = el("div", { class: "readout", "aria-live": "polite" }, idle);
  let lastLabel = -Infinity;
  const labels = LABELS.filter(([ms]) => place(ms) >= left && place(ms) <= width - 24).filter(([ms]) => {
    if (place(ms) - lastLabel < 52) return false;
    lastLabel = place(ms);
    return true;
  });
  const drawing = svg(
    "svg",
    {
      viewBox: `0 0 ${width} ${height}`,
      preserveAspectRatio: "none",
      role: "img",
      tabindex: 0,
      "aria-label": `Histogram: ${idle}`,
    },
    [1, 0.5].map((part) => [
      svg("line", { class: "rule", x1: left, x2: width - right, y1: y(most * part), y2: y(most * part) }),
      most * part >= 1
        ? svg("text", { x: left - 6, y: y(most * part) + 4, "text-anchor": "end" }, compact(Math.round(most * part)))
        : null,
    ]),
    svg("line", { class: "base", x1: left, x2: width - right, y1: height - bottom + 0.5, y2: height - bottom + 0.5 }),
    labels.map(([ms, text]) => svg("text", { x: place(ms), y: height - 6, "text-anchor": "middle" }, text)),
    numbers.map((bin) => {
      const [number, failed] = bins.get(bin);
      return [bar("bar", bin, failed, number), failed ? bar("failed", bin, 0, failed) : null];
    }),
    markLines(marks, place, [left, width - right]),
    active,
  );
  const sorted = numbers.sort((a, b) => a - b);
  let current = -1;
  const show = (number) => {
    current = number;
    const bin = sorted[number];
    active.setAttribute("visibility", bin === undefined ? "hidden" : "visible");
    if (bin === undefined) {
      readout.textContent = idle;
      return;
    }
    active.setAttribute("x", x(bin));
    const [amount, failed] = bins.get(bin);
    const edge = (at) => duration(10 ** (at / each));
    readout.textContent = `${edge(bin)} to ${edge(bin + 1)}: ${counted(amount, noun)}${failed ? `, ${count(failed)} failed` : ""}`;
  };
  drawing.addEventListener("pointermove", (event) => {
    const area = drawing.getBoundingClientRect();
    const at =
      low + ((((event.clientX - area.left) / area.width) * width - left) / (width - left - right)) * (high - low);
    show(sorted.indexOf(Math.floor(at)));
  });
  drawing.addEventListener("pointerleave", () => show(-1));
  drawing.addEventListener("blur", () => show(-1));
  drawing.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    show(Math.max(0, Math.min(sorted.length - 1, current + by)));
  });
  return box.replaceChildren(el("div", { class: `chart ${kind}` }, drawing, readout));
}

// Dashed lines with labels. Two labels that would overlap are on different sides of their lines.
function markLines(marks, place, [least, most]) {
  const known = marks
    .filter(([, ms]) => ms !== null)
    .map(([label, ms]) => [label, Math.max(least, Math.min(most, place(ms)))]);
  return known.map(([label, x], number) => {
    const before = number === 0 && known.length > 1 && known[1][1] - x < 34;
    const atEnd = x > most - 34;
    return [
      svg("line", { class: "mark-line", x1: x, x2: x, y1: 6, y2: CHART.height - CHART.bottom }),
      svg(
        "text",
        {
          class: "strong",
          x: before || atEnd ? x - 4 : x + 4,
          y: 14,
          "text-anchor": before || atEnd ? "end" : "start",
        },
        label,
      ),
    ];
  });
}

function showCharts() {
  const sum = totals();
  histogram(byId("latency"), {
    bins: summed("durations"),
    each: 10,
    noun: "invocation",
    kind: "latency",
    marks: [
      ["p50", sum.p50],
      ["p99", sum.p99],
    ],
    empty: "No invocation with a duration.",
  });
  histogram(byId("waits"), {
    bins: summed("waits"),
    each: 5,
    noun: "object",
    kind: "waits",
    marks: [
      ["p50", sum.wait_p50],
      ["max", sum.wait_max],
    ],
    empty: "The time of storage is unknown.",
  });
}

let chartWidth = 0;

function startCharts() {
  new ResizeObserver(() => {
    if (byId("latency").clientWidth === chartWidth) return;
    chartWidth = byId("latency").clientWidth;
    showCharts();
  }).observe(byId("latency"));
}

on(["scope"], showCharts);
