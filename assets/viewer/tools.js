// The toolbar above the panels: how the maps are drawn, the merge animation, saving.

const LARGEST = 20 * 2 ** 20; // bytes of a picture from the clipboard

const KEYS = [
  ["wheel, pinch, + and −", "zoom"],
  ["drag", "move the zoomed picture"],
  ["double click, 0", "show the whole picture"],
  ["arrows", "move the pointer; with Shift, by ten pixels"],
  ["[ and ]", "opacity"],
  [", and .", "threshold"],
  ["c", "next colours"],
  ["n", "next lines: none, contours, the hottest pixels"],
  ["s", "keep merges at their true brightness"],
  ["m", "play the merge"],
  ["l, Esc", "turn large mode on and off"],
  ["Ctrl or ⌘ and v", "explain the picture in the clipboard"],
  ["click on a panel, Enter", "choose what swipe or blink compares the result with"],
  ["Shift and click or Enter", "use this layer instead of the result; Shift and click on the result to go back"],
  ["click on a region, Enter", "pick it, if regions are ranked"],
];

class Tools {
  constructor(parent) {
    this.root = element("div", { className: "cv-tools", role: "toolbar", ariaLabel: "How the maps are drawn" });
    parent.append(this.root);
    this.listener = () => this.follow();
    this.tell = null; // sends a picture from the clipboard to the server, if the page takes one
    this.pasted = (event) => this.paste(event);
  }

  show(bytes) {
    this.header = headerOf(bytes);
    store.regions = regionsOf(bytes, this.header);
    if (!this.root.children.length) this.build();
    store.listeners.add(this.listener);
    document.addEventListener("paste", this.pasted);
    this.follow();
    store.redraw();
  }

  close() {
    store.listeners.delete(this.listener);
    document.removeEventListener("paste", this.pasted);
  }

  /** Send a picture from the clipboard to the server; text is left alone. */
  async paste(event) {
    const file = [...event.clipboardData.files].find(({ type }) => type.startsWith("image/"));
    if (!file || !this.tell) return;
    event.preventDefault();
    if (file.size > LARGEST) {
      this.here.textContent = `This picture is over ${LARGEST / 2 ** 20} MB, the limit for pasting: upload it instead`;
      return;
    }
    const bytes = new Uint8Array(await file.arrayBuffer());
    let text = "";
    for (const byte of bytes) text += String.fromCharCode(byte);
    this.tell({ name: file.name, data: btoa(text) });
  }

  build() {
    this.colours = select(
      Object.keys(PALETTES).map((name) => [name, NAMES[name]]),
      (colours) => store.set({ colours }),
    );
    this.opacity = range((opacity) => store.set({ opacity }));
    this.threshold = range((threshold) => store.set({ threshold }));
    this.lines = select(Object.entries(LINES), (lines) => store.set({ lines }));
    this.shared = box((shared) => store.set({ shared }));
    this.outline = box((outline) => store.set({ outline }));
    this.result = select(
      [["alone", "nothing"], ["swipe", "swipe"], ["blink", "blink"]],
      (result) => store.set({ result }),
    );
    this.large = button("Large", "For presenting: fill the window with the pictures (l)", () => enlarge(!store.large));
    this.here = element("span", { className: "cv-here" });
    this.outlined = labelled("True shape", this.outline, "Outline the true shape");
    this.merge = button("▶ Merge", "Show how the layers merge into one, starting with the deepest (m)", playMerges);
    this.held = labelled("Compare", this.result, "Compare the large picture with nothing, or with the panel that you click");
    this.root.append(
      this.merge,
      labelled("Colours", this.colours, "All perceptually uniform; Cividis is colour-blind safe (c)"),
      labelled("Opacity", this.opacity, "How strongly the colours cover the picture ([ and ])"),
      labelled("Threshold", this.threshold, "Show the map only where it is at least this bright (, and .)"),
      labelled("Lines", this.lines, "Contours, or an outline around each map's hottest pixels (n)"),
      labelled("True scale", this.shared, "Keep merges at their true brightness instead of stretching each to full range: watch them fade (s)"),
      this.outlined,
      this.held,
      this.large,
      menu("Save", saveMenu()),
      menu("Keys", keyList()),
      this.here,
    );
  }

  follow() {
    const { settings } = store;
    for (const name of ["colours", "opacity", "threshold", "lines", "result"]) this[name].value = settings[name];
    for (const name of ["shared", "outline"]) this[name].checked = settings[name];
    this.outlined.hidden = !this.header.outline;
    this.merge.hidden = this.held.hidden = !this.header.merges;
    this.root.classList.toggle("cv-short", !this.header.merges);
    this.large.textContent = store.large ? "Normal" : "Large";
    this.root.dataset.drawing = store.drawing.toFixed(2);
    this.here.textContent = store.pointer ? this.said(store.pointer) : "";
  }

  /** The pixel under the pointer in words: its place, colour and region. */
  said(at) {
    const viewer = [...store.viewers].find((one) => one.image);
    if (!viewer) return "";
    const { width, height, rgb } = viewer.image;
    const x = Math.min(width - 1, Math.floor(at.x * width));
    const y = Math.min(height - 1, Math.floor(at.y * height));
    const colour = rgb.slice((y * width + x) * 3, (y * width + x) * 3 + 3).join(", ");
    const region = store.regionAt(at);
    return `x ${x}, y ${y} · rgb ${colour}${region === null ? "" : ` · region ${region + 1}`}`;
  }
}

/** The region of each pixel, a byte each; null if unknown. */
function regionsOf(bytes, { width, height }) {
  const labels = bytes.slice(bodyOf(bytes));
  return labels.length ? { width, height, labels } : null;
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function labelled(text, control, title) {
  const label = element("label", { title });
  if (control.type === "checkbox") label.append(control, text);
  else label.append(text, control);
  return label;
}

function select(options, onChange) {
  const made = element("select", {}, ...options.map(([value, text]) => element("option", { value, textContent: text })));
  made.addEventListener("change", () => onChange(made.value));
  return made;
}

function range(onInput) {
  const made = element("input", { type: "range", min: 0, max: 1, step: 0.01 });
  made.addEventListener("input", () => onInput(Number(made.value)));
  return made;
}

function box(onChange) {
  const made = element("input", { type: "checkbox" });
  made.addEventListener("change", () => onChange(made.checked));
  return made;
}

function button(text, title, onClick) {
  const made = element("button", { type: "button", textContent: text, title });
  made.addEventListener("click", onClick);
  return made;
}

/** A small sheet below a button; a click elsewhere or Escape closes it. */
function menu(text, content) {
  const made = element("details", {}, element("summary", { textContent: text }), element("div", {}, content));
  const close = (event) => {
    if (event.key === "Escape" || (event.type === "pointerdown" && !made.contains(event.target))) made.open = false;
  };
  made.addEventListener("toggle", () => {
    const change = made.open ? "addEventListener" : "removeEventListener";
    for (const name of ["pointerdown", "keydown"]) document[change](name, close);
  });
  return made;
}

function keyList() {
  const rows = KEYS.flatMap(([key, act]) => [element("dt", { textContent: key }), element("dd", { textContent: act })]);
  return element("dl", {}, ...rows);
}
