// Choice of a mark and of a range with the pointer.

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

lanesBox.addEventListener(
  "wheel",
  (event) => {
    if (!event.ctrlKey && !event.metaKey) return;
    const found = rowAt(event);
    if (!found) return;
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.25 : 0.8, timeAt(found.x));
  },
  { passive: false },
);
