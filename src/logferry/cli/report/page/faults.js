// Faults, unreadable objects, and losses that are reported.

function showFaults() {
  const rows = model.faults.map((fault, number) => ({ ...fault, number })).filter((fault) => inScope(fault.function));
  const { open } = totals();
  const openText = open
    ? `${counted(open, "environment")} ${open === 1 ? "has" : "have"} no final object: still running, or ended without a Shutdown phase. Records after the last object cannot be verified.`
    : "Each environment has its final object.";
  const box = el("div");
  table(
    box,
    [
      ["Fault", (row) => el("span", { class: "bad" }, visible(faultText(row))), "name"],
      ...functionColumn((row) => row.function),
      ["Environment", (row) => (row.environment === null ? DASH : name(row.environment, { class: "code" }))],
      [
        "Between (UTC)",
        (row) => (row.from === null ? DASH : `${moment(row.from, 1000)} ${DASH} ${clock(model.window.start + row.to)}`),
        "nowrap optional",
      ],
      [
        "",
        (row) =>
          row.from === null
            ? null
            : el(
                "button",
                {
                  type: "button",
                  class: "quiet",
                  "aria-label": `Show on the time line: ${visible(faultText(row))}`,
                  click: () => showFault(row.number),
                },
                "Show",
              ),
        "right",
      ],
    ],
    rows,
    model.proof.unreadable
      ? "No fault in the objects that could be read."
      : "\u2713 No record is missing or duplicated.",
  );
  const unlisted = model.proof.faults - model.faults.length;
  byId("faults-list").replaceChildren(
    box,
    el(
      "p",
      { class: "note small muted" },
      unlisted > 0 && state.scope === null
        ? `${counted(unlisted, "more fault")} of ${count(model.proof.faults)} are not listed. `
        : "",
      openText,
    ),
    unreadableTable(),
    lossTable(),
  );
}

function unreadableTable() {
  if (!model.unreadable.length || state.scope !== null) return "";
  const box = el("div");
  table(
    box,
    [
      ["Unreadable object", ([key]) => name(key, { class: "code" }), "name"],
      ["Reason", ([, reason]) => name(reason), "name"],
    ],
    model.unreadable,
    "",
  );
  const unlisted = model.proof.unreadable - model.unreadable.length;
  return el(
    "div",
    {},
    box,
    unlisted ? el("p", { class: "note small muted" }, `${counted(unlisted, "more object")} are not listed.`) : null,
  );
}

function lossTable() {
  const rows = model.losses.filter((loss) => inScope(loss.function));
  if (!rows.length) return "";
  const box = el("div");
  table(
    box,
    [
      [
        "Reported loss",
        (row) =>
          visible(row.reason || `dropped by ${row.by === "platform" ? "the platform before delivery" : "logferry"}`),
        "name",
      ],
      ...functionColumn((row) => row.function),
      ["Environment", (row) => name(row.environment, { class: "code" })],
      ["Records", (row) => (row.records === null ? DASH : count(row.records)), "right"],
      ["Time (UTC)", (row) => moment(row.at, 1000), "nowrap optional"],
    ],
    rows,
    "",
  );
  return box;
}
