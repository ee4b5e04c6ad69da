// Mini-batches in the stages of one point on the clock, and what moves meanwhile.
const SHADES = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999"];
const LANE = 30, RESOURCE = 64;

function timelinePoints(points) {
  return points.filter(i => DATA.spans[i]);
}

// Steps of bytes a second through each kind of resource: those of a stage spread over its spans.
function ratesOf(i) {
  const size = Object.fromEntries(DATA.stages[i].map(row => [row.stage, row.bytes]));
  const steps = {};
  for (const [stage, , start, end] of DATA.spans[i]) {
    for (const [kind, bytes] of Object.entries(size[stage] || {})) {
      if (end <= start) continue;
      const rate = bytes / (end - start) / 1e3; // bytes a us -> 1e9 bytes a second
      (steps[kind] = steps[kind] || []).push([start, rate], [end, -rate]);
    }
  }
  return Object.fromEntries(Object.entries(steps).map(([kind, changes]) => {
    changes.sort((a, b) => a[0] - b[0]);
    let sum = 0;
    const line = [];
    for (const [time, change] of changes) {
      sum += change;
      if (line.length && line[line.length - 1][0] === time / 1e3) line.pop();
      line.push([time / 1e3, Math.max(0, sum)]);
    }
    return [kind, line];
  }));
}

function drawTimeline(points) {
  const drawn = timelinePoints(points);
  const picker = document.getElementById("timeline-point");
  picker.replaceChildren(...drawn.map(i => new Option(nameOf(i), i, false, String(i) === state.point)));
  document.getElementById("timeline").hidden = !Object.keys(DATA.spans).length;
  note("timeline-note", drawn.length ? "" : "None of the chosen points has a timeline.");
  document.getElementById("timeline-chart").hidden = !drawn.length;
  if (!drawn.length) return;
  const i = drawn.includes(Number(state.point)) && state.point !== "" ? Number(state.point) : drawn[0];
  picker.value = String(i);
  const stages = unique([...DATA.stages[i].map(row => row.stage), ...DATA.spans[i].map(span => span[0])]);
  const rates = ratesOf(i), kinds = Object.keys(rates);
  const { axis, option } = frame();
  const left = innerWidth < 600 ? 92 : 130, top = 12, high = stages.length * LANE;
  const grids = [{ left, right: 18, top, height: high },
    ...kinds.map((_, n) => ({ left, right: 18, top: top + high + 14 + n * (RESOURCE + 12), height: RESOURCE }))];
  const below = grids.length - 1;
  const xAxis = grids.map((_, n) => ({ type: "value", gridIndex: n, min: 0, ...axis,
    max: lastMoment(i), axisLabel: { ...axis.axisLabel, show: n === below, showMinLabel: false, showMaxLabel: false },
    axisLine: { ...axis.axisLine, onZero: false },
    name: n === below ? "simulated time (ms)" : "" }));
  const lanes = { type: "category", gridIndex: 0, inverse: true, ...axis, name: "",
    data: stages.map(name => DATA.stage_titles[name] || name), splitLine: { show: false },
    axisLabel: { ...axis.axisLabel, hideOverlap: false, color: css("--text"), width: left - 12, overflow: "truncate" } };
  const looks = distinctLooks(kinds.map(kind => lookOf("kind", kind)));
  const flows = kinds.map((kind, n) => ({ type: "value", gridIndex: n + 1, min: 0, splitNumber: 2, ...axis,
    name: shorten(DATA.kinds[kind], left > 100 ? 16 : 11) + "\nGB/s", nameLocation: "middle",
    nameGap: left > 100 ? 50 : 36, nameRotate: 0, nameTextStyle: { color: css("--text"), align: "right", fontSize: 11, lineHeight: 15 },
    axisLabel: { ...axis.axisLabel, fontSize: 10 } }));
  const chart = draw("timeline-chart", {
    ...option, legend: undefined, grid: grids, xAxis, yAxis: [lanes, ...flows],
    tooltip: { ...option.tooltip, trigger: "item" },
    dataZoom: zooms(i, grids),
    series: [blocks(i, stages), ...kinds.map((kind, n) => ({
      name: DATA.kinds[kind], type: "line", step: "end", xAxisIndex: n + 1, yAxisIndex: n + 1,
      symbol: "none", lineStyle: { color: looks[n].color, width: 1.2 }, data: rates[kind],
      areaStyle: { color: looks[n].color, opacity: 0.45 }, triggerLineEvent: true,
      tooltip: { formatter: () => `<b>${escapeHtml(DATA.kinds[kind])}</b><br>bytes of each stage spread evenly over it` },
    }))],
  }, top + high + 14 + kinds.length * (RESOURCE + 12) + 92);
  zoomable(chart);
}

const lastMoment = i => Math.max(...DATA.spans[i].map(span => span[3])) / 1e3;

// At first a few mini-batches in the middle, where the pipeline is full.
function zooms(i, grids) {
  const batches = unique(DATA.spans[i].map(span => span[1]));
  const middle = batches[Math.floor(batches.length / 2)];
  const few = DATA.spans[i].filter(span => span[1] >= middle && span[1] < middle + 4);
  const startValue = Math.min(...few.map(span => span[2])) / 1e3;
  const endValue = Math.max(...few.map(span => span[3])) / 1e3;
  const shared = { xAxisIndex: grids.map((_, n) => n), startValue, endValue, filterMode: "none" };
  return [{ type: "inside", ...shared, zoomOnMouseWheel: "ctrl", moveOnMouseWheel: false },
    { type: "slider", ...shared, bottom: 6, height: 22, textStyle: { color: css("--quiet") },
      labelFormatter: value => digits(value) }];
}

function blocks(i, stages) {
  const data = DATA.spans[i].map(([stage, batch, start, end]) =>
    [start / 1e3, end / 1e3, stages.indexOf(stage), batch]);
  return {
    name: "stages", type: "custom", clip: true, data, encode: { x: [0, 1], y: 2 },
    itemStyle: { borderColor: css("--edge") },
    renderItem: (params, api) => {
      const [x, y] = api.coord([api.value(0), api.value(2)]);
      const [end] = api.coord([api.value(1), api.value(2)]);
      const tall = LANE * 0.72, batch = api.value(3), sys = params.coordSys;
      const shape = echarts.graphic.clipRectByRect(
        { x, y: y - tall / 2, width: Math.max(1, end - x), height: tall },
        { x: sys.x, y: sys.y, width: sys.width, height: sys.height });
      if (!shape) return undefined;
      const text = shape.width > 7 * String(batch).length + 4 ? String(batch) : "";
      const box = { type: "rect", shape, style: { fill: SHADES[batch % SHADES.length], stroke: css("--edge"), lineWidth: 0.6 } };
      const word = { type: "text", silent: true, style: { text, x: shape.x + shape.width / 2, y: shape.y + shape.height / 2,
        align: "center", verticalAlign: "middle", fontSize: 11, fontWeight: 600, fill: "#111", stroke: "#fff", lineWidth: 2.5 } };
      return { type: "group", children: text ? [box, word] : [box] };
    },
    tooltip: { formatter: ({ data: [start, end, lane, batch] }) =>
      `<b>${escapeHtml(DATA.stage_titles[stages[lane]] || stages[lane])}</b>, mini-batch ${batch}<br>`
      + `${digits(start)} to ${digits(end)} ms: <b>${digits(end - start)}</b> ms` },
  };
}

// Keys: arrows move, + and - zoom, 0 shows all.
function zoomable(chart) {
  const change = (move, factor) => {
    const { start, end } = chart.getOption().dataZoom[0];
    const span = Math.min(100, Math.max(0.2, (end - start) * factor));
    const middle = (start + end) / 2 + move * (end - start);
    const from = Math.min(Math.max(0, middle - span / 2), 100 - span);
    chart.dispatchAction({ type: "dataZoom", start: from, end: from + span });
  };
  const acts = { ArrowLeft: [-0.25, 1], ArrowRight: [0.25, 1], "+": [0, 0.5], "=": [0, 0.5], "-": [0, 2], 0: [0, 1e6] };
  const act = key => acts[key] && change(...acts[key]);
  document.getElementById("timeline-chart").onkeydown = event => {
    if (event.ctrlKey || event.metaKey || !acts[event.key]) return;
    event.preventDefault();
    act(event.key);
  };
  for (const button of document.querySelectorAll("#timeline [data-key]")) {
    button.onclick = () => act(button.dataset.key);
  }
}
