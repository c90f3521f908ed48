// Title, cards and the chosen function.

function showIntro() {
  const { destination, since_ms: since, until_ms: until, function: pattern, made_ms: made, version } = model.subject;
  byId("title").replaceChildren(name(destination));
  const start = model.window.start,
    end = start + length;
  const sameDay = day(start) === day(end);
  const year = new Date(end).getUTCFullYear();
  const span = sameDay
    ? `${day(start)} ${year}, ${clock(start)} ${DASH} ${clock(end)} UTC`
    : `${day(start)} ${clock(start)} ${DASH} ${day(end)} ${year} ${clock(end)} UTC`;
  const parts = [
    pattern ? `functions ${pattern}` : counted(model.functions.length + model.other.functions, "function"),
    counted(model.totals.environments, "environment"),
    `${span} (${duration(length)})`,
  ];
  byId("subject").replaceChildren(visible(parts.join(" \u00b7 ")));
  const limits = [since !== null && "--since", until !== null && "--until"].filter(Boolean);
  byId("footer").replaceChildren(
    visible(
      [
        `Made by logferry ${version} on ${day(made)} ${new Date(made).getUTCFullYear()}, ${clock(made)} UTC.`,
        limits.length ? `Limited by ${limits.join(" and ")}.` : "",
        model.subject.read,
        "This file contains its data and makes no network request. All times are UTC.",
      ]
        .filter(Boolean)
        .join(" "),
    ),
  );
}

function card(label, parts, more, kind = "") {
  const [value, unit] = parts;
  return el(
    "div",
    { class: `card ${kind}`, role: "group", "aria-label": label },
    el("div", { class: "name" }, label),
    el("div", { class: "value" }, value, unit && el("span", { class: "unit" }, unit)),
    el("div", { class: "more" }, more),
  );
}

function proofCard() {
  const faults = model.faults.filter((fault) => inScope(fault.function));
  const { open } = totals();
  const number = state.scope === null ? model.proof.faults : faults.length;
  const openText = open ? `${counted(open, "environment")} still open` : "all environments have ended";
  const details = [". ", el("a", { href: "#faults" }, "Show details")];
  if (number) {
    const kinds = new Map();
    for (const fault of faults) kinds.set(fault.kind, (kinds.get(fault.kind) ?? 0) + (fault.count ?? 1));
    const words = [...kinds].map(([kind, many]) => `${count(many)} ${kind}`).join(", ");
    return card("Proof", ["\u2715 Incomplete", ""], [visible(words), "; ", openText, details], "proof incomplete");
  }
  if (state.scope === null && model.proof.unreadable) {
    return card(
      "Proof",
      ["\u2715 Unreadable", ""],
      [`${counted(model.proof.unreadable, "object")} could not be read; ${openText}`, details],
      "proof incomplete",
    );
  }
  return card(
    "Proof",
    ["\u2713 Complete", ""],
    [`no record is missing or duplicated; ${openText}`, open ? details : null],
    "proof",
  );
}

function showCards() {
  const sum = totals();
  const none = sum.invocations ? "" : "no invocations";
  byId("cards").replaceChildren(
    proofCard(),
    card("Invocations", [compact(sum.invocations), ""], `in ${counted(sum.environments, "environment")}`),
    card(
      "Failed",
      [compact(sum.failed), ""],
      none || `${percent(sum.failed, sum.invocations)} of all`,
      sum.failed ? "bad" : "",
    ),
    card("Cold starts", [compact(sum.cold), ""], none || `${percent(sum.cold, sum.invocations)} of all`),
    card("p50 / p99", durationPair(sum.p50, sum.p99), sum.longest === null ? none : `longest ${duration(sum.longest)}`),
    card("Objects", [compact(sum.objects), ""], `${compact(sum.records)} records`),
    card(
      "Stored",
      sizeParts(sum.size),
      sum.size === null ? "unknown" : `${size(Math.round(sum.size / sum.objects))} per object`,
    ),
  );
}

// Two durations in one unit, so that they fit into one card.
function durationPair(low, high) {
  if (low === null || high === null) return [DASH, ""];
  const [divisor, unit] = high < 9999.5 ? [1, "ms"] : high < 600_000 ? [1000, "s"] : [60_000, "min"];
  const text = (ms) => (ms / divisor < 9.95 ? (ms / divisor).toFixed(1) : count(Math.round(ms / divisor)));
  return [`${text(low)} / ${text(high)}`, unit];
}

function showScope() {
  const box = byId("scope");
  if (model.functions.length < 2) return box.replaceChildren();
  if (state.scope === null) return box.replaceChildren();
  return box.replaceChildren(
    el(
      "span",
      { class: "chip" },
      name(functionName(state.scope)),
      el(
        "button",
        {
          type: "button",
          class: "round",
          "aria-label": "Show all functions",
          click: () => change("scope", { scope: null }),
        },
        "\u2715",
      ),
    ),
  );
}

on(["scope"], showCards);
on(["scope"], showScope);
