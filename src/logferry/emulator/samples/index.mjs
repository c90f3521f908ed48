// A handler for runtime.mjs: prints the event's "marker" as many times as "lines" says, and answers with the event.
export const handler = async (event) => {
  for (let number = 0; number < (event.lines ?? 1); number += 1) {
    console.log(`${event.marker ?? "line"}-${number}`);
  }
  if (event.raise) {
    throw new Error(event.raise);
  }
  return event;
};
