// A handler for runtime.mjs: prints "lines" lines with the event's "marker" and returns the event.
export const handler = async (event) => {
  for (let number = 0; number < (event.lines ?? 1); number += 1) {
    console.log(`${event.marker ?? "line"}-${number}`);
  }
  if (event.raise) {
    throw new Error(event.raise);
  }
  return event;
};
