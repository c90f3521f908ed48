// Cost of each flush policy.

function showCost() {
  const { cost } = model;
  const most = Math.max(...cost.policies.map((row) => row.usd), 1e-9);
  const own = cost.policies.filter((row) => row.policy);
  const cheapest = own.reduce((best, row) => (!best || row.usd < best.usd ? row : best), null);
  const names = { CloudWatch: "CloudWatch Logs", "Lambda to S3": "Lambda\u2019s S3 destination" };
  const bar = (row) => {
    const meter = el("span", { class: `meter ${row.policy ? "" : "aws"}` });
    meter.style.width = `${(row.usd / most) * 100}%`;
    return meter;
  };
  const box = el("div");
  table(
    box,
    [
      [
        "Policy",
        (row) => [
          names[row.name] ?? row.name,
          row === cheapest && own.length > 1 ? el("span", { class: "tag best" }, "cheapest policy") : null,
          row.policy === "adaptive" ? el("span", { class: "tag" }, "default") : null,
        ],
        "nowrap",
      ],
      ["", bar, "bars optional"],
      ["This window, USD", (row) => usd(row.usd * cost.month_share), "right"],
      ["Month at this rate, USD", (row) => usd(row.usd), "right"],
      ["Objects per month", (row) => (row.policy ? compact(Math.round(row.puts)) : DASH), "right optional"],
      ["Stored within", (row) => (row.delay === null ? DASH : duration(row.delay * 1000)), "right optional"],
    ],
    own.length ? cost.policies : [],
    "No invocations, so there is no rate to estimate from.",
  );
  const coverage =
    cost.share < 0.9999
      ? ` The estimate covers the ${counted(cost.functions, "function")} with most invocations (${percent(cost.share, 1)} of them).`
      : "";
  byId("cost").replaceChildren(
    box,
    el(
      "p",
      { class: "note small muted" },
      `PUT requests of the ${counted(model.totals.objects, "object")} in this report: ${usd(cost.put_usd)} USD. The table is an estimate for all functions with the model of logferry cost, x86_64 and 30 days of retention.${coverage} Prices: ${cost.region}, ${cost.date}.`,
    ),
  );
}
