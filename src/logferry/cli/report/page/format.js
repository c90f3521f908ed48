// Texts of numbers, durations, sizes and times.

const DASH = "\u2013";

function count(number) {
  return number.toLocaleString("en-US");
}

function counted(number, noun) {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

function compact(number) {
  if (number < 100_000) return count(number);
  const [divisor, letter] = number < 1e6 ? [1e3, "k"] : number < 1e9 ? [1e6, "M"] : [1e9, "G"];
  const value = number / divisor;
  return `${value < 100 ? value.toFixed(1) : Math.round(value)} ${letter}`;
}

function percent(part, whole) {
  if (!part) return "0 %";
  const share = (part / whole) * 100;
  return `${share > 0 && share < 0.1 ? "<0.1" : share < 10 ? share.toFixed(1) : Math.round(share)} %`;
}

// [value, unit] of a number of milliseconds.
function durationParts(ms) {
  if (ms === null || ms === undefined) return [DASH, ""];
  if (ms < 9.95) return [ms.toFixed(1), "ms"];
  if (ms < 999.5) return [String(Math.round(ms)), "ms"];
  if (ms < 59_950) return [(ms / 1000).toFixed(ms < 9950 ? 2 : 1), "s"];
  const [unit, size, smaller, part] =
    ms < 3_570_000
      ? ["min", 60_000, "s", 1000]
      : ms < 86_370_000
        ? ["h", 3_600_000, "min", 60_000]
        : ["d", 86_400_000, "h", 3_600_000];
  const total = Math.round(ms / part) * part;
  const rest = Math.round((total % size) / part);
  return [`${Math.floor(total / size)} ${unit}${rest ? ` ${rest} ${smaller}` : ""}`, ""];
}

function duration(ms) {
  return durationParts(ms).join(" ").trim();
}

function sizeParts(bytes) {
  if (bytes === null || bytes === undefined) return [DASH, ""];
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes,
    place = 0;
  while (value >= 999.5 && place < units.length - 1) [value, place] = [value / 1000, place + 1];
  return [place === 0 || value >= 100 ? String(Math.round(value)) : value.toFixed(1), units[place]];
}

function size(bytes) {
  return sizeParts(bytes).join(" ").trim();
}

function usd(amount) {
  if (amount === 0) return "0";
  if (amount < 0.000001) return "<0.000001";
  if (amount < 0.01) return amount.toFixed(1 - Math.floor(Math.log10(amount))).replace(/0+$/, "");
  return amount.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: amount < 1 ? 3 : 2 });
}

function padded(number, width = 2) {
  return String(number).padStart(width, "0");
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

function day(ms) {
  const date = new Date(ms);
  return `${date.getUTCDate()} ${MONTHS[date.getUTCMonth()]}`;
}

// Time of day in UTC. `step` is the distance between two labels in milliseconds.
function clock(ms, step = 1000) {
  const date = new Date(ms);
  const minutes = `${padded(date.getUTCHours())}:${padded(date.getUTCMinutes())}`;
  if (step >= 60_000) return minutes;
  const seconds = `${minutes}:${padded(date.getUTCSeconds())}`;
  return step >= 1000 ? seconds : `${seconds}.${padded(date.getUTCMilliseconds(), 3)}`;
}

// Complete time of an offset in the window.
function moment(offset, step = 1) {
  const ms = Math.round(model.window.start + offset);
  return `${day(ms)} ${clock(ms, step)}`;
}

function isoTime(offset) {
  return new Date(Math.round(model.window.start + offset)).toISOString();
}

function short(id) {
  return id.length > 12 ? `${id.slice(0, 8)}` : id;
}
