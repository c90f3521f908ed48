// Marks of a lane: their times, their places, and the mark at a place.

const HEIGHT = 40,
  SHARED_HEIGHT = 36;
const GAP_PIXELS = 14;
const MAX_TRACKS = 4;
// Times have milliseconds, and durations have fractions of them. A smaller overlap is none.
const CLOCK_MS = 5;
const RESULTS = ["succeeded", "failed", "no report"];

// The marks of a lane in order of time: { kind, from, to, row }.
function marksOf(lane) {
  if (lane.marks) return lane.marks;
  const { invocation, object, phase, bin } = column;
  const faults = lane.faults
    .map((number) => model.faults[number])
    .filter((fault) => fault.from !== null)
    .map((row) => ({ kind: "fault", from: row.from, to: row.to, row }));
  const losses = lane.losses
    .map((number) => model.losses[number])
    .map((row) => ({ kind: "loss", from: row.from, to: row.to, row }));
  const marks =
    lane.environment === null
      ? lane.bin_marks.map((row) => {
          const from = (row[bin.bin] * length) / model.bins.lane;
          return { kind: "bin", from, to: from + length / model.bins.lane, row };
        })
      : [
          ...lane.phase_marks.map((row) => ({
            kind: "phase",
            from: row[phase.start],
            to: row[phase.start] + (row[phase.took] ?? 0),
            row,
          })),
          ...lane.invocation_marks.map((row) => ({
            kind: "invocation",
            from: row[invocation.start],
            to: row[invocation.start] + (row[invocation.took] ?? 0),
            row,
          })),
          ...lane.object_marks.map((row) => ({ kind: "object", from: row[object.first], to: row[object.last], row })),
        ];
  setTracks(
    lane,
    marks.filter((mark) => mark.kind === "invocation"),
  );
  lane.marks = [...marks, ...losses, ...faults].sort((one, other) => one.from - other.from || one.to - other.to);
  lane.busiest = lane.environment === null ? Math.max(1, ...lane.bin_marks.map((row) => row[bin.invocations])) : 0;
  return lane.marks;
}

// Give each invocation a track, so that concurrent ones (Managed Instances) are drawn below each other.
function setTracks(lane, invocations) {
  const ends = [];
  for (const mark of invocations) {
    const free = ends.findIndex((end) => end <= mark.from + CLOCK_MS);
    mark.track = free >= 0 ? free : ends.length < MAX_TRACKS ? ends.length : ends.indexOf(Math.min(...ends));
    ends[mark.track] = Math.max(mark.to, ends[mark.track] ?? 0);
  }
  for (const mark of invocations) mark.tracks = Math.max(1, ends.length);
}

// Whether records are missing here: as a fault, or as a loss that is reported.
function isGap(mark) {
  return mark.kind === "fault" || mark.kind === "loss";
}

function isUpper(mark) {
  return mark.kind === "phase" || mark.kind === "invocation";
}

// Rectangle of a mark in pixels: [x, y, width, height].
function boxOf(mark, scale) {
  let x = scale(mark.from),
    width = scale(mark.to) - x;
  const [y, height, least] = bandOf(mark);
  if (width < least) [x, width] = isGap(mark) ? [x + width / 2 - least / 2, least] : [x, least];
  return [x, y, width, height];
}

// Vertical place of a mark, and its least width: [y, height, width].
function bandOf({ kind, row, track, tracks }) {
  if (kind === "fault" || kind === "loss") return [2, null, GAP_PIXELS];
  if (kind === "bin") return [1, SHARED_HEIGHT - 2, 2];
  if (kind === "object") return [24, 10, 2];
  if (kind === "phase") return [5, 13, 3];
  const failed = row[column.invocation.result] === 1;
  if (tracks > 1) return [2 + (17 / tracks) * track, 17 / tracks - 1, failed ? 3 : 1.5];
  return failed ? [1, 19, 3] : [5, 13, 1.5];
}

// The mark at a place of a lane, or the nearest one within some pixels.
function markAt(lane, x, y, scale) {
  let best = null,
    nearest = 6;
  for (const mark of marksOf(lane)) {
    const [left, , width] = boxOf(mark, scale);
    if (left > x + 8) {
      if (!isGap(mark)) break;
      continue;
    }
    const stored = mark.kind === "object" ? mark.row[column.object.stored] : null;
    const right = stored === null ? left + width : Math.max(left + width, scale(stored) + 2);
    let distance = x < left ? left - x : x > right ? x - right : 0;
    if (isGap(mark)) distance -= 1;
    else if (lane.environment !== null && isUpper(mark) !== y < 21) distance += 5;
    else if (mark.tracks > 1) distance += Math.min(4, Math.abs(boxOf(mark, scale)[1] + 8 / mark.tracks - y) / 4);
    if (distance < nearest || (distance === nearest && best && !isGap(best))) [best, nearest] = [mark, distance];
  }
  return best;
}
