// Colours, hatches, dashes and markers: as in the figures for papers, and as the page is lit.
const HATCHES = {
  "": null,
  "/": { symbol: "rect", dashArrayX: [1, 0], dashArrayY: [2, 5], rotation: Math.PI / 4 },
  "\\": { symbol: "rect", dashArrayX: [1, 0], dashArrayY: [2, 5], rotation: -Math.PI / 4 },
  "-": { symbol: "rect", dashArrayX: [1, 0], dashArrayY: [2, 4] },
  "|": { symbol: "rect", dashArrayX: [1, 0], dashArrayY: [2, 4], rotation: Math.PI / 2 },
  ".": { symbol: "circle", dashArrayX: [[5, 5], [0, 5, 5, 0]], dashArrayY: [5, 0], symbolSize: 0.5 },
  "o": { symbol: "circle", dashArrayX: [[9, 5], [2, 7, 7, 0]], dashArrayY: [9, 0], symbolSize: 0.8 },
  "+": { symbol: "path://M4,0H6V4H10V6H6V10H4V6H0V4H4Z", dashArrayX: [8, 3], dashArrayY: [8, 3] },
  "x": { symbol: "path://M1,0L5,4L9,0L10,1L6,5L10,9L9,10L5,6L1,10L0,9L4,5L0,1Z",
    dashArrayX: [8, 2], dashArrayY: [8, 2] },
  "*": { symbol: "diamond", dashArrayX: [[7, 5], [0, 6, 6, 0]], dashArrayY: [7, 0], symbolSize: 0.8 },
  "O": { symbol: "triangle", dashArrayX: [8, 4], dashArrayY: [8, 2], symbolSize: 0.9 },
};
const SYMBOLS = {
  o: "circle", s: "rect", "^": "triangle", D: "diamond", d: "diamond", v: "path://M0,0H10L5,9Z",
  P: "path://M4,0H6V4H10V6H6V10H4V6H0V4H4Z", X: HATCHES.x.symbol, p: "roundRect",
  "<": "path://M9,0V10L0,5Z", ">": "path://M0,0V10L9,5Z", "*": "pin", h: "roundRect",
  H: "roundRect", 8: "circle",
};
const DASHES = { "-": "solid", "--": [7, 4], ":": [2, 3], "-.": [8, 3, 2, 3] };

const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const dark = () => matchMedia("(prefers-color-scheme: dark)").matches;

function lit(color) {
  const [r, g, b] = [1, 3, 5].map(at => parseInt(color.slice(at, at + 2), 16));
  if (!dark() || 0.3 * r + 0.59 * g + 0.11 * b > 72) return color;
  return `#${[r, g, b].map(c => Math.round(c + 0.5 * (255 - c)).toString(16).padStart(2, "0")).join("")}`;
}

// Looks of the series of one chart: those asked for, with other hatches and dashes where two of
// them would have the same colour and hatch.
function distinctLooks(wanted) {
  const taken = new Set();
  const dashes = Object.keys(DASHES), hatches = Object.keys(HATCHES);
  const symbols = ["o", "s", "^", "D", "v", "<", ">", "P", "X"];
  return wanted.map(look => {
    let { color, hatch, marker, dash } = look;
    hatch = hatch.slice(0, 1);
    for (let n = 0; taken.has(color + hatch) && n < hatches.length; n++) {
      hatch = hatches[(hatches.indexOf(look.hatch.slice(0, 1)) + n + 1) % hatches.length];
      dash = dashes[(dashes.indexOf(look.dash) + n + 1) % dashes.length];
      marker = symbols[(symbols.indexOf(look.marker) + n + 1) % symbols.length];
    }
    taken.add(color + hatch);
    const decal = HATCHES[hatch];
    return {
      color: lit(color), symbol: SYMBOLS[marker] || "circle", dash: DASHES[dash] || "solid",
      decal: decal ? { ...decal, color: "rgba(0,0,0,0.45)" } : { symbol: "none" },
      key: color + hatch,
    };
  });
}
const SPARE = { color: "#999999", hatch: "", marker: "o", dash: "-" };
const lookOf = (kind, name) => DATA.looks[kind][name] || SPARE;
