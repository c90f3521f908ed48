// A Node function that uses resources as its event requires: `print`, `cpu_ms`, `exhaust`, `exit`.
// The response has the CPU time of the process during the handler, in milliseconds.
const kept = [];

export const handler = async (event) => {
  const began = process.cpuUsage();
  const used = () => {
    const { user, system } = process.cpuUsage(began);
    return (user + system) / 1000;
  };
  if (event.print) console.log(event.print);
  while (used() < (event.cpu_ms ?? 0));
  if (event.exhaust) {
    while (true) kept.push(new Array(10_000).fill(kept.length));
  }
  if (event.exit !== undefined) process.exit(event.exit);
  return { cpuMs: used() };
};
