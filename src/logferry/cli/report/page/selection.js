// Choice of a mark with the keyboard, and the way to a fault.

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
  const shown = state.to - state.from,
    taken = mark.to - mark.from;
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
  const at =
    chosen.lane === row.lane
      ? marks.indexOf(chosen.mark)
      : by > 0
        ? marks.findIndex((mark) => mark.to >= state.from) - 1
        : marks.length;
  const next = Math.max(0, Math.min(marks.length - 1, at + by));
  reveal(marks[next], row.lane);
}

function moveLane(to) {
  const number = Math.max(0, Math.min(rows.length - 1, to));
  rows[number].node.focus();
  rows[number].node.scrollIntoView({ block: "nearest" });
}

const KEYS = {
  ArrowRight: () => step(1),
  ArrowLeft: () => step(-1),
  ArrowDown: () => moveLane(active + 1),
  ArrowUp: () => moveLane(active - 1),
  PageDown: () => moveLane(active + 10),
  PageUp: () => moveLane(active - 10),
  Home: () => step(-Infinity),
  End: () => step(Infinity),
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
