// The points, what is chosen of them, and how values are written.
const DATA = JSON.parse(document.getElementById("data").textContent);
const DIMS = DATA.dims.map(dim => ({ ...dim, distinct: distinctValues(dim) }));
const COUNT = DIMS[0].values.length;
const state = {
  off: Object.fromEntries(DIMS.map(dim => [dim.key, new Set()])),
  metric: "iteration_time_us", x: "", times: "busy", use: "utilization", point: "",
  sort: "", down: false, all: false,
};
const METRIC_TITLES = {
  iteration_time_us: "iteration time", speedup_over_hybrid: "speed-up over hybrid",
  throughput_samples_per_s: "throughput", lookup_hit_rate: "lookup hits",
  unique_hit_rate: "hits of unique rows", energy_mj: "energy of a mini-batch",
  misses_per_batch: "missed rows", victims_per_batch: "evicted rows",
  cache_fraction: "cache", bottleneck_utilization: "bottleneck busy",
  published_error: "published error",
};

function distinctValues(dim) {
  const found = [...new Set(dim.values)];
  if (dim.numbers) {
    const number = new Map(dim.values.map((value, i) => [value, dim.numbers[i]]));
    found.sort((a, b) => number.get(a) - number.get(b));
  }
  return found;
}

const dimOf = key => DIMS.find(dim => dim.key === key);
const metric = (name, i) => (DATA.points[name] ? DATA.points[name][i] : null);
const range = n => [...Array(n).keys()];
const unique = values => [...new Set(values)];

function chosen() {
  return range(COUNT).filter(i => DIMS.every(dim => !state.off[dim.key].has(dim.values[i])));
}

function shownValue(dim, value) {
  if (dim.key === "label") return DATA.names.label[value] || value;
  return value;
}

// What tells a point from others of its system: the values of all dimensions but `without`.
function cellOf(i, without) {
  const words = [];
  for (const dim of DIMS) {
    if (without.includes(dim.key) || dim.distinct.length < 2) continue;
    const plain = ["label", "locality"].includes(dim.key);
    words.push(plain ? shownValue(dim, dim.values[i]) : `${dim.title} ${dim.values[i]}`);
  }
  return words.join(", ") || dimOf("locality").values[i];
}

const labelOf = i => shownValue(dimOf("label"), dimOf("label").values[i]);
const nameOf = i => {
  const cell = cellOf(i, ["label"]);
  return cell ? `${labelOf(i)}, ${cell}` : labelOf(i);
};

// ---- values as people read them
function unitOf(name) {
  if (name.endsWith("_us")) return "ms";
  if (name.endsWith("_mj")) return "J";
  if (isShare(name)) return "%";
  const unit = DATA.columns[name] ? DATA.columns[name].unit : "";
  return unit === "1" ? "" : unit;
}
const SHARES = /(_rate|_rate_low|_rate_high|_utilization|_fraction|_error|_overlap|_trend|share_of_peak)$|^utilization$/;
const isShare = name => SHARES.test(name);
function scaled(name, value) {
  if (typeof value !== "number") return null;
  if (name.endsWith("_us") || name.endsWith("_mj")) return value / 1e3;
  return isShare(name) ? 100 * value : value;
}
function digits(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en-US");
  const size = Math.abs(value);
  const places = size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : size >= 1 ? 3 : 4;
  return value.toLocaleString("en-US", { maximumFractionDigits: places });
}
function written(name, value) {
  if (name === "bottleneck") return DATA.bottlenecks[value] || value || "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return digits(value);
  return digits(scaled(name, value));
}
const withUnit = name => {
  const title = METRIC_TITLES[name] || name.replace(/_(us|mj)$/, "").replaceAll("_", " ");
  return unitOf(name) ? `${title} (${unitOf(name)})` : title;
};
const escapeHtml = text =>
  String(text).replace(/[&<>"']/g, c => `&#${c.charCodeAt(0)};`);

// What hovering over a point tells, whatever the chart.
const TOLD = ["iteration_time_us", "speedup_over_hybrid", "throughput_samples_per_s",
  "lookup_hit_rate", "misses_per_batch", "energy_mj", "bottleneck", "bottleneck_utilization",
  "published_error"];
function toldOf(i, first) {
  const names = unique([first, ...TOLD]).filter(name => name && metric(name, i) !== null);
  const lines = names.map(name => {
    const spread = spreadOf(name, i);
    const between = spread ? ` (${digits(spread[0])} to ${digits(spread[1])})` : "";
    return `${escapeHtml(withUnit(name))}: <b>${escapeHtml(written(name, metric(name, i)))}</b>${between}`;
  });
  return `<b>${escapeHtml(nameOf(i))}</b><br>${lines.join("<br>")}`;
}
// Columns with the least and the most over seeds.
const INTERVALS = { iteration_time_us: ["iteration_time_low_us", "iteration_time_high_us"],
  lookup_hit_rate: ["lookup_hit_rate_low", "lookup_hit_rate_high"],
  energy_mj: ["energy_low_mj", "energy_high_mj"] };
function spreadOf(name, i) {
  const pair = INTERVALS[name];
  const ends = pair && pair.map(column => scaled(column, metric(column, i)));
  return ends && ends[0] !== null && ends[1] !== null ? ends : null;
}

// ---- the state in the address, so that a link shows the same
function remember() {
  const words = new URLSearchParams();
  for (const dim of DIMS) for (const value of state.off[dim.key]) words.append(`-${dim.key}`, value);
  for (const key of ["metric", "x", "times", "use", "point", "sort"]) {
    if (state[key] && state[key] !== DEFAULTS[key]) words.set(key, state[key]);
  }
  if (state.down) words.set("down", "1");
  if (state.all) words.set("all", "1");
  const hash = words.toString();
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname + location.search);
}
const DEFAULTS = { ...state };
function recall() {
  for (const [key, value] of new URLSearchParams(location.hash.slice(1))) {
    if (key.startsWith("-") && state.off[key.slice(1)]) state.off[key.slice(1)].add(value);
    else if (key === "down" || key === "all") state[key] = value === "1";
    else if (key in DEFAULTS && key !== "off") state[key] = value;
  }
}
