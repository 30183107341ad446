// State that all viewers on a page share: how maps are drawn, the part in view, the pointer.

const DEFAULTS = Object.freeze({
  colours: "inferno",
  opacity: 0.67,
  threshold: 0,
  lines: "none", // or "quarters", or the share of the hottest pixels that are outlined
  shared: false,
  outline: true,
  result: "alone", // or "swipe", "blink": the result compared with the chosen panel
});
const share = (value) => typeof value === "number" && value >= 0 && value <= 1;
const flag = (value) => typeof value === "boolean";
// Whether a value from a link or an earlier visit is one.
const ALLOWED = {
  colours: (value) => Object.hasOwn(PALETTES, value),
  opacity: share,
  threshold: share,
  lines: (value) => Object.hasOwn(LINES, value),
  shared: flag,
  outline: flag,
  result: (value) => ["alone", "swipe", "blink"].includes(value),
};
const KEPT = "camviz-viewer";
const CHANGED = "camviz-address"; // the event that tells of another address
const PAUSE = 250; // milliseconds without a change before the address is written: browsers limit how often it may be

class Store {
  constructor() {
    this.settings = { ...DEFAULTS, ...(settingsIn(location.hash || firstFragment()) ?? remembered()) };
    this.writeAddress();
    this.zoom = { scale: 1, left: 0, top: 0 }; // a place u of the picture lies at u * scale + left of its panel
    this.pointer = null; // { x, y } in the picture, 0 to 1
    this.regions = null; // { width, height, labels } once they are known
    this.scores = {}; // by subject and map, for screen readers
    this.verdicts = {}; // by subject
    this.large = false;
    this.awaited = null; // called with the panel that is clicked next
    this.viewers = new Set();
    this.listeners = new Set(); // called after every change, before the next frame
    this.pending = false;
    this.hasKeys = false; // whether keys are listened to
    this.drawing = 0; // milliseconds the last frame took
  }

  set(changes) {
    Object.assign(this.settings, changes);
    remember(this.settings);
    this.writeAddress();
    this.redraw();
  }

  /** Write the settings into the address's fragment; those that are as at first are left out. */
  writeAddress() {
    clearTimeout(this.writing);
    this.writing = setTimeout(() => {
      const changed = Object.entries(this.settings).filter(([name, value]) => value !== DEFAULTS[name]);
      const fragment = new URLSearchParams(changed).toString();
      if (fragment === location.hash.slice(1)) return;
      const bare = location.pathname + location.search;
      history.replaceState({ ...history.state }, "", fragment ? `${bare}#${fragment}` : bare);
      dispatchEvent(new Event(CHANGED));
    }, PAUSE);
  }

  /** Take the settings of a fragment that somebody has entered; every entry of the history has a state otherwise. */
  readAddress() {
    if (history.state === null) this.set({ ...DEFAULTS, ...settingsIn(location.hash) });
  }

  /** Zoom by a factor about a place (px, py) of the panels, 0 to 1. */
  zoomBy(factor, px, py) {
    const { scale, left, top } = this.zoom;
    const next = clamp(scale * factor, 1, 32);
    this.look(next, px - ((px - left) / scale) * next, py - ((py - top) / scale) * next);
  }

  /** Look at a part; the picture always fills its panel. */
  look(scale, left, top) {
    this.zoom = { scale, left: clamp(left, 1 - scale, 0), top: clamp(top, 1 - scale, 0) };
    this.follow();
  }

  /** Call a function with the panel that is clicked next; null to cancel. */
  awaitPanel(act) {
    this.awaited = act;
    document.documentElement.classList.toggle("cv-awaiting", act !== null);
  }

  /** The region at a place of the picture; null if unknown. */
  regionAt({ x, y }) {
    if (!this.regions) return null;
    const { width, height, labels } = this.regions;
    const [column, row] = [Math.floor(x * width), Math.floor(y * height)];
    return labels[clamp(row, 0, height - 1) * width + clamp(column, 0, width - 1)];
  }

  point(pointer) {
    this.pointer = pointer && { x: clamp(pointer.x, 0, 1), y: clamp(pointer.y, 0, 1) };
    this.follow();
  }

  /** Update the part in view and the pointer, which needs no redrawing. */
  follow() {
    for (const viewer of this.viewers) viewer.follow();
    for (const listener of this.listeners) listener();
  }

  /** Redraw every panel once in the next frame, however many changes come before it. */
  redraw() {
    if (this.pending) return;
    this.pending = true;
    requestAnimationFrame(() => {
      this.pending = false;
      const start = performance.now();
      for (const viewer of this.viewers) viewer.draw();
      this.drawing = performance.now() - start;
      for (const listener of this.listeners) listener();
    });
  }
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

// Some browsers deny storage to pages opened as a file: settings are not remembered there.
function remembered() {
  try {
    return allowed(JSON.parse(sessionStorage.getItem(KEPT)) ?? {});
  } catch {
    return {};
  }
}

/** The fragment with which the page was opened: Streamlit may have dropped it before this script was there. */
function firstFragment() {
  const opened = performance.getEntriesByType("navigation")[0];
  return opened ? new URL(opened.name).hash : "";
}

/** The settings in an address's fragment; null if it is empty. */
function settingsIn(fragment) {
  const said = Object.fromEntries(new URLSearchParams(fragment.slice(1)));
  for (const [name, first] of Object.entries(DEFAULTS)) {
    if (!(name in said)) continue;
    if (typeof first === "number") said[name] = Number(said[name]);
    if (typeof first === "boolean") said[name] = { true: true, false: false }[said[name]];
  }
  return fragment.length > 1 ? allowed(said) : null;
}

function allowed(values) {
  return Object.fromEntries(Object.entries(values).filter(([name, value]) => ALLOWED[name]?.(value)));
}

function remember(settings) {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(settings));
  } catch {
    return;
  }
}

/** Have screen readers say words; they hear only changes of a place that was there before. */
function announce(words) {
  let place = document.querySelector(".cv-announced");
  if (!place) {
    place = Object.assign(document.createElement("div"), { className: "cv-announced", role: "status", ariaLive: "polite" });
    document.body.append(place);
  }
  if (place.textContent !== words) place.textContent = words;
}

const store = (globalThis.camvizViewers ??= new Store());
