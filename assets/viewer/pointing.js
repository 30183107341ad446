// Input to a viewer: wheel, mouse, touch, keys.

const NEAR = 4; // pixels that the pointer may move during a click

function listen(viewer) {
  const fingers = new Map();
  let slipped = 0;
  const root = viewer.root;

  root.addEventListener(
    "wheel",
    (event) => {
      const at = placeIn(event);
      if (!at || (store.zoom.scale === 1 && event.deltaY > 0)) return; // fully zoomed out: let the page scroll
      event.preventDefault();
      store.zoomBy(Math.exp(-event.deltaY / 300), at.px, at.py);
      store.point(pictureAt(at));
    },
    { passive: false },
  );
  root.addEventListener("pointerdown", (event) => {
    const at = placeIn(event);
    if (!at || event.button > 0) return;
    fingers.set(event.pointerId, event);
    slipped = 0;
    const swipes = viewer.compares() && store.settings.result === "swipe" && !event.shiftKey && !store.awaited;
    viewer.swiping = swipes && fingers.size === 1 && at.result;
    at.frame.setPointerCapture(event.pointerId);
    if (viewer.swiping) swipe(viewer, at);
  });
  root.addEventListener("pointermove", (event) => {
    const at = placeIn(event);
    if (at) store.point(pictureAt(at));
    const before = fingers.get(event.pointerId);
    if (!before || !at) return;
    slipped += Math.hypot(event.clientX - before.clientX, event.clientY - before.clientY);
    if (viewer.swiping) swipe(viewer, at);
    else if (fingers.size === 2) pinch(fingers, event, at);
    else if (slipped > NEAR) drag(before, event, at);
    fingers.set(event.pointerId, event);
  });
  for (const name of ["pointerup", "pointercancel"]) {
    root.addEventListener(name, (event) => {
      const at = placeIn(event);
      if (fingers.delete(event.pointerId) && name === "pointerup" && slipped <= NEAR && at && !viewer.swiping) {
        choose(viewer, at, event.shiftKey);
      }
    });
  }
  root.addEventListener("pointerleave", () => store.point(null));
  root.addEventListener("click", (event) => {
    const button = event.target.closest("[data-pick]");
    if (button) viewer.tell?.(Number(button.dataset.pick));
  });
  root.addEventListener("dblclick", () => store.look(1, 0, 0));
  root.addEventListener("keydown", (event) => {
    const frame = event.target.closest(".cv-pic");
    if (!frame || (event.key !== "Enter" && event.key !== " ") || viewer.header.regions.length) return;
    event.preventDefault();
    choose(viewer, placeIn(event), event.shiftKey);
  });
}

/** The panel under an event and the place in it, 0 to 1; null outside the panels. */
function placeIn(event) {
  const frame = event.target.closest?.(".cv-pic");
  const canvas = frame?.querySelector("canvas");
  if (!canvas) return null;
  const box = frame.getBoundingClientRect();
  const [px, py] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  const map = canvas.dataset.map === undefined ? null : Number(canvas.dataset.map);
  return { frame, px, py, size: box.width, map, result: "result" in canvas.dataset };
}

function pictureAt({ px, py }) {
  const { scale, left, top } = store.zoom;
  return { x: (px - left) / scale, y: (py - top) / scale };
}

function drag(before, event, at) {
  const { scale, left, top } = store.zoom;
  store.look(
    scale,
    left + (event.clientX - before.clientX) / at.size,
    top + (event.clientY - before.clientY) / at.size,
  );
}

function pinch(fingers, event, at) {
  const other = [...fingers.values()].find((finger) => finger.pointerId !== event.pointerId);
  const before = fingers.get(event.pointerId);
  const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
  store.zoomBy(apart(event) / Math.max(apart(before), 1), at.px, at.py);
}

function swipe(viewer, at) {
  viewer.split = clamp(pictureAt(at).x, 0, 1);
  viewer.redrawResult();
}

/** A click saves a panel, picks a region, or chooses a map to compare with the result, or with Shift to replace it. */
function choose(viewer, at, instead) {
  if (store.awaited) {
    store.awaited(at.frame);
    return store.awaitPanel(null);
  }
  if (viewer.header.regions.length) return pickRegion(viewer, pictureAt(at));
  if (at.map === null) return;
  if (instead) viewer.large = at.result ? null : at.map;
  else if (!at.result) viewer.chosen = at.map;
  store.redraw();
}

function pickRegion(viewer, at) {
  const region = store.regionAt(at);
  if (region !== null) viewer.tell?.(region);
}

// Where letters are typed, and where arrows have a meaning of their own.
const TYPED = "input:not([type=checkbox], [type=radio], [type=range]), textarea, select, [contenteditable], [role=listbox]";
const WALKED = "input, summary, [role=radiogroup], [role=slider], [role=tablist], [role=menu], [role=grid]";
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** A key anywhere on the page; it is for the viewer that has the focus, or else for the first. */
function press(event) {
  if (event.key === "Escape") return enlarge(false);
  const viewers = [...store.viewers].filter(({ image }) => image);
  const viewer = viewers.find(({ root }) => root.contains(event.target)) ?? viewers[0];
  if (!viewer || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest(TYPED) || (event.key in ARROWS && event.target.closest(WALKED))) return;
  if (event.key === "Enter" && (!viewer.root.contains(event.target) || event.target.closest("button"))) return;
  const { opacity, threshold, lines, shared, colours } = store.settings;
  const at = store.pointer ?? { x: 0.5, y: 0.5 };
  const { scale, left, top } = store.zoom;
  const zoom = (factor) => store.zoomBy(factor, at.x * scale + left, at.y * scale + top);
  const keys = {
    "+": () => zoom(1.5),
    "-": () => zoom(1 / 1.5),
    0: () => store.look(1, 0, 0),
    "[": () => store.set({ opacity: clamp(opacity - 0.1, 0, 1) }),
    "]": () => store.set({ opacity: clamp(opacity + 0.1, 0, 1) }),
    ",": () => store.set({ threshold: clamp(threshold - 0.05, 0, 1) }),
    ".": () => store.set({ threshold: clamp(threshold + 0.05, 0, 1) }),
    c: () => store.set({ colours: following(Object.keys(PALETTES), colours) }),
    n: () => store.set({ lines: following(Object.keys(LINES), lines) }),
    s: () => store.set({ shared: !shared }),
    m: () => playMerges(),
    l: () => enlarge(!store.large),
    Enter: () => viewer.header.regions.length && pickRegion(viewer, at),
  };
  const step = ARROWS[event.key];
  const act = step ? () => walk(viewer, at, step, event.shiftKey ? 10 : 1) : keys[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

/** The next name, after the last the first. */
function following(names, name) {
  return names[(names.indexOf(name) + 1) % names.length];
}

/** Move the pointer by some pixels of the picture. */
function walk(viewer, at, [dx, dy], pixels) {
  const { width, height } = viewer.image;
  store.point({ x: at.x + (dx * pixels) / width, y: at.y + (dy * pixels) / height });
}

function playMerges() {
  for (const viewer of store.viewers) viewer.playMerge();
}

/** Large mode: the panels fill the window. */
function enlarge(on) {
  if (store.large === on) return;
  store.large = on;
  document.documentElement.classList.toggle("cv-large", on);
  for (const listener of store.listeners) listener();
}

// One listener for all viewers, however often this script is loaded.
if (!store.hasKeys) {
  store.hasKeys = true;
  document.addEventListener("keydown", press);
}
