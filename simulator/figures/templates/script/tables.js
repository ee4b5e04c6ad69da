// Tables: the points, sorted; how busy resources are.
const MOST_ROWS = 400;
const SHOWN = ["iteration_time_us", "seeds", "iteration_time_low_us", "iteration_time_high_us", "speedup_over_hybrid",
  "throughput_samples_per_s", "cache_fraction", "lookup_hit_rate", "unique_hit_rate",
  "misses_per_batch", "energy_mj", "bottleneck", "bottleneck_utilization", "stationary",
  "published_error"];
const TEXT = new Set(["bottleneck", "calibrated", "system", "profile", "cache_start"]);

function element(name, more = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(more)) {
    if (key in made) made[key] = value; else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function tableColumns() {
  const dims = DIMS.filter(dim => dim.distinct.length > 1 || dim.key === "label" || dim.key === "locality");
  const known = Object.keys(DATA.points);
  const usual = SHOWN.filter(name => known.includes(name));
  const others = known.filter(name => !usual.includes(name) && !dims.some(dim => dim.key === name));
  const names = state.all ? [...usual, ...others] : usual;
  return [
    ...dims.map(dim => ({ key: dim.key, title: dim.title, text: true, help: (DATA.columns[dim.key] || {}).meaning
      || `Swept key ${dim.key}.`, value: i => (dim.numbers ? dim.numbers[i] : shownValue(dim, dim.values[i])),
      show: i => shownValue(dim, dim.values[i]) })),
    ...names.map(name => ({ key: name, title: withUnit(name), text: TEXT.has(name),
      help: `${name}: ${DATA.columns[name].meaning}`, value: i => metric(name, i),
      show: i => written(name, metric(name, i)) })),
  ];
}

function sorted(points, columns) {
  const column = columns.find(column => column.key === state.sort);
  if (!column) return points;
  const sign = state.down ? -1 : 1;
  const order = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b
    : String(a).localeCompare(String(b), "en", { numeric: true }));
  return [...points].sort((i, j) => {
    const a = column.value(i), b = column.value(j);
    if (a === null || b === null) return (a === null) - (b === null);
    return sign * order(a, b);
  });
}

function drawTable(points) {
  const columns = tableColumns();
  const rows = sorted(points, columns);
  const head = element("tr", {}, ...columns.map(column => {
    const sort = state.sort !== column.key ? "none" : state.down ? "descending" : "ascending";
    const arrow = { none: "", ascending: " ▲", descending: " ▼" }[sort];
    const button = element("button", { type: "button", className: "sort", "data-help": column.help,
      "data-sort": column.key }, column.title + arrow);
    return element("th", { scope: "col", "aria-sort": sort, className: column.text ? "text" : "" }, button);
  }));
  const body = rows.slice(0, MOST_ROWS).map(i => element("tr", {}, ...columns.map((column, n) =>
    element(n ? "td" : "th", { className: column.text ? "text" : "", ...(n ? {} : { scope: "row" }) },
      column.show(i)))));
  const table = document.getElementById("points-table");
  table.replaceChildren(element("thead", {}, head), element("tbody", {}, ...body));
  const more = rows.length - body.length;
  note("points-note", more > 0 ? `${more.toLocaleString("en-US")} more rows are not shown: filter, or take the CSV.` : "");
}

const USES = { utilization: ["busy", 100, "%"], bandwidth_gbps: ["bandwidth", 1, " GB/s"],
  share_of_peak: ["share of peak", 100, "%"] };

function spreadText(values, factor, unit) {
  if (!values.length) return "–";
  const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
  const texts = [Math.min(...values), mean, Math.max(...values)].map(v => digits(Number((factor * v).toPrecision(3))));
  return (new Set(texts).size === 1 ? texts[0] : texts.join("/")) + unit;
}

function drawResources(points) {
  const detailed = points.filter(i => DATA.resources[i]);
  const shown = detailed.slice(0, 100);
  const families = Object.entries(DATA.families).filter(([family]) => shown.some(i => {
    const used = DATA.resources[i][family];
    return used && used[state.use].length;
  }));
  const [, factor, unit] = USES[state.use];
  const head = element("tr", {}, element("th", { scope: "col", className: "text" }, "point"),
    ...families.map(([, about]) => element("th", { scope: "col", tabIndex: 0,
      "data-help": `${about.title}, one of the ${about.meaning}. ${about.source}` }, about.title)));
  const body = shown.map(i => element("tr", {}, element("th", { scope: "row", className: "text" }, nameOf(i)),
    ...families.map(([family, about]) => {
      const used = DATA.resources[i][family];
      const cell = element("td", {}, used ? spreadText(used[state.use], factor, unit) : "–");
      if (!used) return cell;
      const lines = Object.entries(USES).map(([key, [title, by, suffix]]) => `${title} ${spreadText(used[key], by, suffix)}`);
      cell.dataset.help = `${used.name}, ${nameOf(i)}: ${lines.join(", ")}`;
      const shares = used[state.use === "bandwidth_gbps" ? "share_of_peak" : state.use];
      cell.style.setProperty("--share", Math.max(0, ...shares).toFixed(3));
      cell.classList.add("heat");
      cell.tabIndex = -1;
      return cell;
    })));
  document.getElementById("resources-table").replaceChildren(element("thead", {}, head), element("tbody", {}, ...body));
  const missing = points.length - shown.length;
  note("resources-note", missing ? `${missing.toLocaleString("en-US")} more points: filter to see others, or see devices.csv.` : "");
}

function csvOf(points) {
  const quote = value => (value === null ? "" : /[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : String(value));
  const names = Object.keys(DATA.points);
  const dims = DIMS.filter(dim => !names.includes(dim.key));
  const lines = [[...dims.map(dim => dim.key), ...names], ...points.map(i =>
    [...dims.map(dim => dim.values[i]), ...names.map(name => metric(name, i))])];
  return lines.map(line => line.map(quote).join(",")).join("\n") + "\n";
}
