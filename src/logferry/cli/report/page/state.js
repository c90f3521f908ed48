// The model, and what the reader has chosen: a function, a filter, a range of time, a mark.

const model = JSON.parse(byId("model").textContent);
const length = model.window.length;
const column = Object.fromEntries(
  Object.entries(model.columns).map(([kind, names]) => [
    kind,
    Object.fromEntries(names.map((each, place) => [each, place])),
  ]),
);

const state = { scope: null, filter: "", from: 0, to: length };
const listeners = { scope: [], filter: [], range: [] };

function on(kinds, action) {
  for (const kind of kinds) listeners[kind].push(action);
}

function change(kind, values) {
  Object.assign(state, values);
  for (const action of listeners[kind]) action();
}

function functionName(number) {
  return number === null || number === undefined ? "" : model.functions[number].name;
}

function matches(number) {
  return !state.filter || functionName(number).toLowerCase().includes(state.filter);
}

// Whether rows of a function are shown under the current choice.
function inScope(number) {
  return state.scope === null || number === state.scope;
}

function totals() {
  return state.scope === null ? model.totals : model.functions[state.scope];
}

// Sum of the bins of all functions in the scope: a map from bin to [count, failed].
function summed(kind) {
  const bins = new Map();
  const chosen = state.scope === null ? [...model.functions, model.other] : [model.functions[state.scope]];
  for (const each of chosen) {
    for (const [bin, number, failed = 0] of each[kind]) {
      const [before, failedBefore] = bins.get(bin) ?? [0, 0];
      bins.set(bin, [before + number, failedBefore + failed]);
    }
  }
  return bins;
}
