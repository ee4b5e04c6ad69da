// The charts: what each shows of the chosen points, as options of the library.
const MOST_BARS = 240, MOST_LINES = 24, MOST_STACKS = 60;
const CURVES = ["iteration_time_us", "speedup_over_hybrid", "lookup_hit_rate", "energy_mj"];
const charts = new Map();

function draw(id, option, height) {
  const box = document.getElementById(id), legend = whole(option, box.clientWidth);
  if (height) box.style.height = `${Math.round(height + legend.more)}px`;
  option = { ...option, ...legend.option };
  if (!charts.has(id)) charts.set(id, echarts.init(box, null, { renderer: "svg" }));
  const chart = charts.get(id);
  chart.resize();
  chart.setOption({ animation: false, ...option }, { notMerge: true });
  return chart;
}

// A legend that shows all of its names, in lines above the chart; one to scroll where they are many.
const LINE_PX = 22, MOST_LEGEND_LINES = 10;
function whole(option, width) {
  let lines = 1, used = 0;
  for (const one of option.legend ? option.series : []) {
    if (!one.name) continue;
    const own = 42 + 6.2 * one.name.length;
    if (used && used + own > width - 12) { lines += 1; used = 0; }
    used += own;
  }
  if (!option.legend || lines > MOST_LEGEND_LINES) return { more: 0, option: {} };
  const more = LINE_PX * (lines - 1);
  return { more, option: { legend: { ...option.legend, type: "plain" },
    grid: { ...option.grid, top: option.grid.top + more } } };
}

function frame(more = {}) {
  const text = css("--text"), quiet = css("--quiet"), line = css("--line");
  const axis = {
    axisLabel: { color: quiet, hideOverlap: true }, nameTextStyle: { color: quiet },
    axisLine: { lineStyle: { color: line } }, splitLine: { lineStyle: { color: line } },
    nameLocation: "middle", nameGap: 28,
  };
  return {
    axis,
    option: {
      textStyle: { color: text, fontFamily: css("--font") },
      legend: { type: "scroll", top: 0, textStyle: { color: text }, pageTextStyle: { color: text },
        pageIconColor: css("--accent"), pageIconInactiveColor: line, itemWidth: 22, itemHeight: 13,
        inactiveColor: quiet },
      tooltip: { confine: true, backgroundColor: css("--card"), borderColor: line,
        textStyle: { color: text, fontSize: 12 } },
      grid: { left: 14, right: 18, top: 38, bottom: 34, containLabel: true },
      ...more,
    },
  };
}

// Series of bars and lines: a system, and the run that it is of where there are two.
function seriesOf(i) {
  return dimOf("run") ? `${labelOf(i)} (${dimOf("run").values[i]})` : labelOf(i);
}

function shorten(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

// Names of points beside their bars, broken where they are long.
const named = (axis, most, names) => ({ ...axis.axisLabel, hideOverlap: false, interval: 0,
  width: Math.min(most, 8 + 7 * Math.max(0, ...names.map(name => name.length))),
  overflow: "break", lineHeight: 13, fontSize: 11 });

function drawBars(points) {
  const without = ["label", "run"];
  const all = points.filter(i => metric(state.metric, i) !== null);
  const kept = all.slice(0, MOST_BARS);
  const cells = unique(kept.map(i => cellOf(i, without)));
  const names = unique(kept.map(seriesOf));
  const first = new Map([...kept].reverse().map(i => [seriesOf(i), i]));
  const looks = distinctLooks(names.map(n => lookOf("label", dimOf("label").values[first.get(n)])));
  const { axis, option } = frame();
  const edge = css("--edge"), narrow = innerWidth < 600;
  const series = names.map((name, n) => ({
    name, type: "bar", itemStyle: { color: looks[n].color, decal: looks[n].decal,
      borderColor: edge, borderWidth: 0.6 }, barGap: "0%", barCategoryGap: "18%",
    label: { show: true, position: "right", color: css("--text"), fontSize: 10,
      formatter: item => digits(Number(item.value.toPrecision(3))) },
    data: cells.map(cell => {
      const i = kept.find(i => cellOf(i, without) === cell && seriesOf(i) === name);
      return i === undefined ? null : { value: scaled(state.metric, metric(state.metric, i)), point: i };
    }),
  }));
  const chart = draw("bars-chart", {
    ...option, aria: { enabled: true, decal: { show: true } },
    tooltip: { ...option.tooltip, formatter: item => toldOf(item.data.point, state.metric) },
    grid: { ...option.grid, right: 54 },
    xAxis: { type: "value", ...axis, name: withUnit(state.metric) },
    yAxis: { type: "category", ...axis, name: "", inverse: true, data: cells,
      axisLabel: named(axis, narrow ? 96 : 240, cells) },
    series: [...series, ...whiskers(series, cells)],
  }, 90 + cells.length * (12 + names.length * 15));
  note("bars-note", all.length > kept.length
    ? `The first ${MOST_BARS} of ${all.length} points: filter to see others.` : "");
  walkable("bars-chart", chart, series);
}

// The spread over seeds as a line across the end of each bar.
function whiskers(series, cells) {
  const data = series.flatMap((one, n) => one.data.flatMap((item, row) => {
    const ends = item && spreadOf(state.metric, item.point);
    return ends ? [[row, ...ends, n]] : [];
  }));
  if (!data.length) return [];
  const width = 0.82 / series.length;
  return [{
    type: "custom", silent: true, data, encode: { x: [1, 2], y: 0 }, z: 5,
    renderItem: (_, api) => {
      const [low, y] = api.coord([api.value(1), api.value(0)]);
      const [high] = api.coord([api.value(2), api.value(0)]);
      const at = y + (api.value(3) - (series.length - 1) / 2) * width * api.size([0, 1])[1];
      const style = { stroke: css("--text"), lineWidth: 1.2 };
      const line = (x1, y1, x2, y2) => ({ type: "line", shape: { x1, y1, x2, y2 }, style });
      return { type: "group", children: [line(low, at, high, at), line(low, at - 4, low, at + 4),
        line(high, at - 4, high, at + 4)] };
    },
  }];
}

// What curves can be drawn against: swept numbers, else columns that differ, else names.
function abscissas() {
  const swept = DIMS.filter(dim => dim.numbers && dim.distinct.length > 1);
  const several = name => unique((DATA.points[name] || []).filter(v => v !== null)).length > 1;
  const columns = ["cache_fraction", "cache_rows", "batch_size", "gpus", "dim", "tables"]
    .filter(name => several(name) && !swept.some(dim => dim.key.endsWith(name.replace("cache_", "cache."))));
  const named = DIMS.filter(dim => !dim.numbers && dim.distinct.length > 1 && dim.key !== "label"
    && dim.key !== "run");
  return [...swept.map(dim => [dim.key, dim.title]), ...columns.map(name => [name, withUnit(name)]),
    ...named.map(dim => [dim.key, dim.title])];
}

function drawCurves(points) {
  const dim = dimOf(state.x), numeric = !dim || Boolean(dim.numbers);
  const xOf = i => (dim ? (dim.numbers ? dim.numbers[i] : dim.values[i]) : scaled(state.x, metric(state.x, i)));
  const without = ["label", "run", state.x];
  const groups = new Map();
  for (const i of points) {
    if (xOf(i) === null) continue;
    const cell = DIMS.some(d => d.distinct.length > 1 && !without.includes(d.key)) ? `, ${cellOf(i, without)}` : "";
    const name = seriesOf(i) + cell;
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(i);
  }
  const kept = [...groups].slice(0, MOST_LINES);
  const looks = distinctLooks(kept.map(([, members]) => lookOf("label", dimOf("label").values[members[0]])));
  for (const name of CURVES) drawCurve(name, kept, looks, xOf, numeric, dim ? dim.title : withUnit(state.x));
  note("curves-note", groups.size > kept.length
    ? `The first ${MOST_LINES} of ${groups.size} lines: filter to see others.` : "");
}

function drawCurve(name, groups, looks, xOf, numeric, title) {
  const id = `curve-${name}`;
  const any = groups.some(([, members]) => members.some(i => metric(name, i) !== null));
  document.getElementById(id).closest("figure").hidden = !any;
  if (!any) return;
  const { axis, option } = frame();
  const series = groups.map(([label, members], n) => ({
    name: label, type: "line", symbol: looks[n].symbol, symbolSize: 8, connectNulls: false,
    lineStyle: { color: looks[n].color, type: looks[n].dash, width: 2 },
    itemStyle: { color: looks[n].color, borderColor: css("--edge"), borderWidth: 0.6 },
    data: members.filter(i => metric(name, i) !== null).map(i =>
      ({ value: [xOf(i), scaled(name, metric(name, i))], point: i }))
      .sort((a, b) => (numeric ? a.value[0] - b.value[0] : 0)),
  })).filter(one => one.data.length);
  const numbers = series.flatMap(one => one.data.map(item => item.value[0]));
  const wide = numeric && Math.min(...numbers) > 0 && Math.max(...numbers) / Math.min(...numbers) > 30;
  const fit = { min: "dataMin", max: "dataMax", boundaryGap: ["2%", "2%"] };
  const rows = Math.ceil(series.length / 2);
  const chart = draw(id, {
    ...option,
    tooltip: { ...option.tooltip, formatter: item => toldOf(item.data.point, name) },
    xAxis: { type: numeric ? (wide ? "log" : "value") : "category", ...axis, name: title,
      ...(numeric ? { scale: true } : {}), ...(wide ? fit : {}), ...(numeric && !wide ? atValues(axis, numbers) : {}) },
    yAxis: { type: "value", ...axis, name: "", min: 0 },
    series: [...series, ...bounds(name, series)],
  }, Math.min(420, 280 + 6 * rows));
  walkable(id, chart, series);
}

// Ticks at the values themselves where these are few; room beside the first and the last.
function atValues(axis, numbers) {
  const values = unique(numbers).sort((a, b) => a - b);
  if (values.length < 2 || values.length > 12) return {};
  const room = 0.04 * (values.at(-1) - values[0]);
  return { min: values[0] - room, max: values.at(-1) + room, axisTick: { customValues: values },
    axisLabel: { ...axis.axisLabel, customValues: values, showMinLabel: true, showMaxLabel: true },
    splitLine: { show: false } };
}

// The spread over seeds as an upright line through each point of a curve.
function bounds(name, series) {
  const data = series.flatMap(one => one.data.flatMap(item => {
    const ends = spreadOf(name, item.point);
    return ends ? [[item.value[0], ...ends]] : [];
  }));
  if (!data.length) return [];
  return [{
    type: "custom", silent: true, data, encode: { x: 0, y: [1, 2] }, z: 5,
    renderItem: (_, api) => {
      const [x, low] = api.coord([api.value(0), api.value(1)]);
      const [, high] = api.coord([api.value(0), api.value(2)]);
      const style = { stroke: css("--text"), lineWidth: 1.2 };
      const line = (x1, y1, x2, y2) => ({ type: "line", shape: { x1, y1, x2, y2 }, style });
      return { type: "group", children: [line(x, low, x, high), line(x - 4, low, x + 4, low),
        line(x - 4, high, x + 4, high)] };
    },
  }];
}

function drawStages(points) {
  const detailed = points.filter(i => DATA.stages[i] && DATA.stages[i].length);
  const kept = detailed.slice(0, MOST_STACKS);
  const names = unique(kept.flatMap(i => DATA.stages[i].map(row => row.stage)));
  const looks = distinctLooks(names.map(name => lookOf("stage", name)));
  const { axis, option } = frame();
  const narrow = innerWidth < 600;
  const series = names.map((name, n) => ({
    name: DATA.stage_titles[name], type: "bar", stack: "all", barCategoryGap: "22%",
    itemStyle: { color: looks[n].color, decal: looks[n].decal, borderColor: css("--edge"), borderWidth: 0.6 },
    data: kept.map(i => {
      const row = DATA.stages[i].find(row => row.stage === name);
      return row ? { value: row[state.times] / 1e3, point: i, row } : null;
    }),
  }));
  const told = ({ data }) => {
    const moved = Object.entries(data.row.bytes).map(([kind, bytes]) =>
      `${escapeHtml(DATA.kinds[kind])}: <b>${digits(bytes / 1e6)}</b> MB a mini-batch`);
    const times = ["busy", "exposed", "hidden"].map(t => `${t}: <b>${digits(data.row[t] / 1e3)}</b> ms`);
    return `<b>${escapeHtml(DATA.stage_titles[data.row.stage])}</b> (${data.row.role})<br>`
      + `${escapeHtml(nameOf(data.point))}<br>${[...times, ...moved].join("<br>")}`;
  };
  const chart = draw("stages-chart", {
    ...option, aria: { enabled: true, decal: { show: true } },
    tooltip: { ...option.tooltip, formatter: told },
    xAxis: { type: "value", ...axis, name: narrow ? "time (ms)" : `${state.times} time of stages, one after the other (ms)` },
    yAxis: { type: "category", ...axis, name: "", inverse: true, data: kept.map(nameOf),
      axisLabel: named(axis, narrow ? 110 : 300, kept.map(nameOf)) },
    series,
  }, 90 + (narrow ? 38 : 24) * Math.max(2, kept.length));
  const missing = points.length - kept.length;
  note("stages-note", missing ? `${missing} more points: filter to see others.` : "");
  walkable("stages-chart", chart, series);
}

const note = (id, text) => { document.getElementById(id).textContent = text; };

// Arrow keys walk over the values of a chart; what is there is shown, and said to screen readers.
function walkable(id, chart, series) {
  const stops = series.flatMap((one, s) => one.data.flatMap((item, d) => (item ? [[s, d, item]] : [])));
  const box = document.getElementById(id);
  let at = -1;
  box.onkeydown = event => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (event.key === "Escape") { chart.dispatchAction({ type: "hideTip" }); return; }
    if (!step || !stops.length) return;
    event.preventDefault();
    at = (at + step + stops.length) % stops.length;
    const [seriesIndex, dataIndex, item] = stops[at];
    chart.dispatchAction({ type: "showTip", seriesIndex, dataIndex });
    const value = Array.isArray(item.value) ? item.value[1] : item.value;
    note("spoken", `${series[seriesIndex].name}, ${nameOf(item.point)}: ${digits(value)}`);
  };
}
