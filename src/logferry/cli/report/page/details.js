// Texts about a mark: the short one at the pointer, the complete one below the time line.

function laneName(lane) {
  if (lane.environment !== null) return [functionName(lane.function), `environment ${lane.environment}`];
  const several = counted(lane.environments, "environment");
  return [lane.function === null ? "other functions" : functionName(lane.function), several];
}

function titleOf(mark) {
  const { row, kind } = mark;
  if (kind === "fault") return `Fault: ${faultText(row)}`;
  if (kind === "loss") return `Reported loss: ${row.records === null ? "records" : counted(row.records, "record")}`;
  if (kind === "phase")
    return `${row[column.phase.kind] === "restore" ? "Restore of a snapshot" : "Init phase (cold start)"}, ${duration(row[column.phase.took])}`;
  if (kind === "object")
    return `Object of segment ${row[column.object.segment]}${row[column.object.final] ? ", the last of its environment" : ""}`;
  if (kind === "bin")
    return `${counted(row[column.bin.invocations], "invocation")}${row[column.bin.failed] ? `, ${count(row[column.bin.failed])} failed` : ""}`;
  const { result, took, status, error } = column.invocation;
  const problem = [row[status], row[error]].filter(Boolean).join(", ");
  return row[result] === 1
    ? `Invocation failed: ${problem}`
    : `Invocation ${RESULTS[row[result]]}${row[took] === null ? "" : `, ${duration(row[took])}`}`;
}

function faultText(fault) {
  const { first_segment: first, last_segment: last, kind, count: many } = fault;
  if (first === null) return `${many === null ? "" : `${count(many)} `}${kind}`;
  const segments = first === last ? `segment ${first}` : `segments ${first}${DASH}${last}`;
  if (kind === "segments missing") return `${segments} missing`;
  return `${segments}: ${many === null ? "" : `${count(many)} `}${kind}`;
}

function shortLines(mark) {
  const { row, kind } = mark;
  const lines = [];
  if (kind === "invocation") lines.push(`request ${row[column.invocation.request_id]}`);
  if (kind === "object") {
    const { stored, first, records } = column.object;
    lines.push(
      counted(row[records], "record"),
      row[stored] === null
        ? "time of storage unknown"
        : `stored ${duration(row[stored] - row[first])} after its first record`,
    );
  }
  if (kind === "bin" && row[column.bin.cold]) lines.push(counted(row[column.bin.cold], "cold start"));
  const end = mark.to - mark.from >= 1000 ? ` ${DASH} ${clock(model.window.start + mark.to)}` : "";
  lines.push(`${moment(mark.from, kind === "bin" ? 1000 : 1)}${end} UTC`);
  return lines;
}

function showTip(mark, x, y) {
  const tip = byId("tip");
  if (!mark) {
    tip.hidden = true;
    return;
  }
  tip.replaceChildren(
    el("b", {}, visible(titleOf(mark))),
    shortLines(mark)
      .map((line) => el("div", {}, visible(line)))
      .reduce((all, line) => {
        all.append(line);
        return all;
      }, document.createDocumentFragment()),
  );
  tip.hidden = false;
  const { offsetWidth: width, offsetHeight: height } = tip;
  tip.style.left = `${Math.max(6, Math.min(x + 14, innerWidth - width - 8))}px`;
  tip.style.top = `${y + 18 + height > innerHeight ? y - height - 12 : y + 18}px`;
}

function fact(label, value, kind = "") {
  if (value === null || value === undefined || value === "") return null;
  return el(
    "div",
    { class: kind },
    el("dt", {}, label),
    el("dd", {}, typeof value === "string" ? visible(value) : value),
  );
}

function factsOf(mark, lane) {
  const { row, kind } = mark;
  const [owner, environment] = laneName(lane);
  const common = [
    fact("Function", name(owner)),
    fact("Environment", lane.environment === null ? environment : name(lane.environment, { class: "code" })),
  ];
  if (kind === "invocation") {
    const at = column.invocation;
    const extra = row[at.responded] !== null && row[at.took] !== null ? row[at.took] - row[at.responded] : null;
    return [
      fact("Request", requestButton(owner, row[at.request_id], row[at.start]), "double"),
      ...common,
      fact("Start (UTC)", moment(row[at.start])),
      fact("Duration", row[at.took] === null ? "unknown: no report is stored" : duration(row[at.took])),
      fact(
        "Response after",
        row[at.responded] === null
          ? null
          : `${duration(row[at.responded])}${extra > 0.05 ? `, then ${duration(extra)} of extensions` : ""}`,
        extra > 0.05 ? "double" : "",
      ),
      fact("Init phase", row[at.init] === null ? null : duration(row[at.init])),
      fact(
        "Memory",
        row[at.used_mb] === null ? null : `${count(row[at.used_mb])} of ${count(row[at.memory_mb] ?? 0)} MB`,
      ),
    ];
  }
  if (kind === "object") {
    const at = column.object;
    return [
      ...common,
      fact("Records", count(row[at.records])),
      fact("Size", row[at.size] === null ? null : size(row[at.size])),
      fact("First record (UTC)", moment(row[at.first])),
      fact("Last record (UTC)", moment(row[at.last])),
      fact("Stored (UTC)", row[at.stored] === null ? "unknown" : moment(row[at.stored])),
      fact(
        "Waited",
        row[at.stored] === null ? null : `${duration(row[at.stored] - row[at.first])} since its first record`,
      ),
      fact("Key", row[at.key] && name(row[at.key], { class: "code" }), "wide"),
    ];
  }
  if (kind === "fault") {
    return [
      ...common,
      fact(
        "Segments",
        row.first_segment === null
          ? null
          : row.first_segment === row.last_segment
            ? String(row.first_segment)
            : `${row.first_segment}${DASH}${row.last_segment}`,
      ),
      fact("Between (UTC)", `${moment(row.from)} ${DASH} ${moment(row.to)}`, "double"),
      fact("Key", row.key && name(row.key, { class: "code" }), "wide"),
    ];
  }
  if (kind === "loss") {
    return [
      ...common,
      fact("Segments", row.first_segment === null ? null : `${row.first_segment}${DASH}${row.last_segment}`),
      fact("Reported by", row.by),
      fact("Reported (UTC)", moment(row.at)),
      fact("Reason", row.reason, "wide"),
    ];
  }
  if (kind === "phase")
    return [
      ...common,
      fact("Start (UTC)", moment(mark.from)),
      fact("Duration", duration(row[column.phase.took])),
      fact("Status", row[column.phase.status]),
    ];
  return [
    ...common,
    fact("Failed", count(row[column.bin.failed])),
    fact("Cold starts", count(row[column.bin.cold])),
    fact("Time (UTC)", `${moment(mark.from, 1000)} ${DASH} ${moment(mark.to, 1000)}`, "double"),
  ];
}

function commandOf(mark, lane) {
  const owner = functionName(lane.function);
  if (mark.kind === "invocation") return logsCommand(owner, mark.row[column.invocation.request_id], mark.from);
  if (mark.kind === "fault") return verifyCommand(mark.from, mark.to);
  if (mark.kind === "bin") return owner ? reportCommand(owner) : null;
  return null;
}

function showDetails(mark, lane) {
  const panel = byId("details");
  panel.classList.toggle("shown", Boolean(mark));
  if (!mark) return panel.replaceChildren();
  return panel.replaceChildren(
    el(
      "div",
      { class: "line" },
      el("h3", {}, visible(titleOf(mark))),
      el(
        "button",
        { type: "button", class: "round", "aria-label": "Close the details", click: () => select(null, null) },
        "\u2715",
      ),
    ),
    el("dl", {}, factsOf(mark, lane)),
    commandLine(commandOf(mark, lane)) ?? "",
  );
}
