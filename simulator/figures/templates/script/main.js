// Filters, choices and keys; draws all that depends on them.
function chip(dim, value) {
  const box = element("input", { type: "checkbox", checked: !state.off[dim.key].has(value) });
  box.dataset.dim = dim.key;
  box.value = value;
  const swatch = element("span", { className: "swatch" });
  if (dim.key === "label") swatch.style.background = lit(lookOf("label", value).color);
  const parts = dim.key === "label" ? [box, swatch, shownValue(dim, value)] : [box, shownValue(dim, value)];
  return element("label", { className: "chip" }, ...parts);
}

function drawFilters() {
  const groups = DIMS.filter(dim => dim.distinct.length > 1).map(dim => {
    const buttons = dim.distinct.length < 3 ? [] : ["all", "none"].map(word =>
      element("button", { type: "button", className: "small", "data-all": dim.key, value: word }, word));
    return element("fieldset", {}, element("legend", {}, dim.title, " ", ...buttons),
      ...dim.distinct.map(value => chip(dim, value)));
  });
  document.getElementById("filters").replaceChildren(...groups);
  document.getElementById("filter-section").hidden = !groups.length;
}

function fill(id, pairs, value) {
  const box = document.getElementById(id);
  box.replaceChildren(...pairs.map(([key, title]) => new Option(title, key, false, key === value)));
}

function offered() {
  const usual = [...SHOWN, "victims_per_batch"].filter(name => DATA.points[name] && typeof DATA.points[name].find(v => v !== null) === "number");
  const others = Object.keys(DATA.points).filter(name => !usual.includes(name)
    && typeof DATA.points[name].find(v => v !== null) === "number");
  return [...usual, ...others].map(name => [name, withUnit(name)]);
}

function redraw() {
  const points = chosen();
  note("count", points.length === COUNT ? `all ${COUNT} points` : `${points.length} of ${COUNT} points`);
  document.getElementById("nothing").hidden = points.length > 0;
  drawTable(points);
  drawBars(points);
  document.getElementById("curves").hidden = !abscissas().length;
  if (abscissas().length) drawCurves(points);
  drawStages(points);
  drawResources(points);
  drawTimeline(points);
  try { remember(); } catch { /* an address that may not be changed */ }
}

function save(name, text, kind) {
  const link = element("a", { download: name, href: URL.createObjectURL(new Blob([text], { type: kind })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function listen() {
  document.addEventListener("change", event => {
    const box = event.target;
    if (box.dataset.dim) {
      state.off[box.dataset.dim][box.checked ? "delete" : "add"](box.value);
      redraw();
    } else if (box.dataset.state) {
      state[box.dataset.state] = box.type === "checkbox" ? box.checked : box.value;
      redraw();
    }
  });
  document.addEventListener("click", event => {
    const button = event.target.closest("button, nav a");
    if (!button) return;
    if (button.dataset.sort) sortBy(button.dataset.sort);
    else if (button.dataset.all) {
      const dim = dimOf(button.dataset.all);
      state.off[dim.key] = new Set(button.value === "none" ? dim.distinct : []);
      drawFilters();
      redraw();
    } else if (button.dataset.svg) {
      save(`${button.dataset.svg}.svg`, charts.get(button.dataset.svg).renderToSVGString(), "image/svg+xml");
    } else if (button.id === "csv") save("points.csv", csvOf(chosen()), "text/csv");
    else if (button.matches("nav a")) {
      event.preventDefault();
      const section = document.getElementById(button.hash.slice(1));
      section.scrollIntoView();
      section.focus({ preventScroll: true });
    }
  });
}

function sortBy(key) {
  state.down = state.sort === key && !state.down;
  state.sort = key;
  redraw();
  document.querySelector(`[data-sort="${CSS.escape(key)}"]`).focus();
}

// Help that hovering or the keyboard brings up, beside what it is about.
function helpful() {
  const tip = document.getElementById("tip");
  let about = null;
  const put = () => {
    tip.hidden = !about || !about.isConnected;
    if (tip.hidden) return;
    tip.textContent = about.dataset.help;
    const place = about.getBoundingClientRect(), own = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(8, Math.min(place.left, document.documentElement.clientWidth - own.width - 8))}px`;
    const under = place.bottom + 6;
    tip.style.top = `${under + own.height > innerHeight ? Math.max(8, place.top - own.height - 6) : under}px`;
  };
  const show = event => {
    about = event.target.closest ? event.target.closest("[data-help]") : null;
    put();
  };
  document.addEventListener("mouseover", show);
  document.addEventListener("focusin", show);
  document.addEventListener("keydown", event => { if (event.key === "Escape") { about = null; put(); } });
  document.addEventListener("scroll", put, true);
}

function start() {
  recall();
  const ways = abscissas();
  if (!ways.some(([key]) => key === state.x)) state.x = ways.length ? ways[0][0] : "";
  DEFAULTS.x = ways.length ? ways[0][0] : "";
  fill("metric", offered(), state.metric);
  fill("x", ways, state.x);
  for (const box of document.querySelectorAll("[data-state]")) {
    if (box.type === "checkbox") box.checked = state[box.dataset.state];
    else if (box.dataset.state !== "point") box.value = state[box.dataset.state];
  }
  drawFilters();
  redraw();
  listen();
  helpful();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { drawFilters(); redraw(); });
  let waiting = 0;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(redraw, 150); });
}
start();
