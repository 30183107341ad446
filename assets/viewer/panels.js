// One arrangement of panels: the server's markup, its canvases drawn here, all with the same part in view.

const BLINK = 700; // milliseconds
const STEP = 900; // milliseconds to merge a layer

class Viewer {
  constructor(parent) {
    this.root = document.createElement("div");
    this.root.className = "cv-viewer";
    this.root.tabIndex = 0;
    parent.append(this.root);
    this.tell = null; // reports clicks to the server, if it asks for them
    this.split = 0.5; // the position of the swipe's border
    this.chosen = null; // the map that the large picture is compared with
    this.large = null; // the map in the large picture, if it is not the result
    this.merging = null;
    listen(this);
  }

  /** Show what the server sent; the previous panels stay until these are drawn, within one frame. */
  show(bytes) {
    store.viewers.add(this);
    if (this.header?.id === headerOf(bytes).id) return; // already drawn: this run changed nothing here
    const { header, image, maps } = unpack(bytes);
    if (header.maps !== this.header?.maps) this.large = this.chosen = null; // an index may now mean another layer
    Object.assign(this, { header, image, maps, merging: null, playing: null });
    this.root.innerHTML = header.markup;
    this.root.setAttribute("role", "group");
    this.root.setAttribute("aria-label", header.label);
    this.panels = [...this.root.querySelectorAll("canvas")].map((canvas) => this.panel(canvas));
    this.chosen ??= header.partner ?? null;
    this.draw();
    this.follow();
    this.speak();
  }

  /** Add each map's score to its words for screen readers, and say the result's and the verdict. */
  speak() {
    const scores = store.scores[this.header.subject] ?? {}, verdict = store.verdicts[this.header.subject];
    for (const { canvas, map, alt } of this.panels) {
      canvas.ariaLabel = map in scores ? `${alt}, ARCC ${scores[map]}` : alt;
      if ("result" in canvas.dataset) announce([canvas.ariaLabel, verdict].filter(Boolean).join(". "));
    }
  }

  panel(canvas) {
    const { width, height } = this.image;
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    const frame = context.createImageData(width, height);
    const map = canvas.dataset.map === undefined ? null : Number(canvas.dataset.map);
    const pixels = new Uint32Array(frame.data.buffer);
    if (map === null) {
      paintPicture(pixels, this.image);
      context.putImageData(frame, 0, 0);
    }
    const isChoice = map !== null && this.header.result !== undefined; // what the large picture is compared with
    if (isChoice) Object.assign(canvas.parentElement, { tabIndex: 0, role: "radio", ariaChecked: "false" });
    const reading = canvas.parentElement.appendChild(document.createElement("output"));
    if ("result" in canvas.dataset) {
      canvas.parentElement.append(Object.assign(document.createElement("span"), { className: "cv-sides" }));
    }
    return { canvas, context, frame, pixels, map, reading, alt: canvas.ariaLabel };
  }

  close() {
    store.viewers.delete(this);
    clearInterval(this.blinking);
  }

  /** Whether a map is a difference. */
  isSigned(map) {
    return this.header.signed.includes(map);
  }

  /** The range of a map on the current scale. */
  range(index) {
    return store.settings.shared ? this.header.ranges[index] : [0, 1];
  }

  draw() {
    const inks = inksFor(store.settings);
    for (const panel of this.panels) this.drawPanel(panel, inks);
    this.root.querySelectorAll(".cv-ramp").forEach((bar) => {
      bar.style.background = ramp(store.settings, "signed" in bar.dataset);
    });
    this.root.classList.toggle("cv-no-outline", !store.settings.outline);
    this.tellSides();
    this.blink();
  }

  /** Mark the two maps that the large picture compares, and name them in it. */
  tellSides() {
    const sides = this.compares() ? [this.chosen, this.large ?? this.header.result] : [];
    for (const { canvas, map } of this.panels) {
      const aside = !("result" in canvas.dataset);
      const isPartner = aside && map === sides[0];
      canvas.parentElement.classList.toggle("cv-partner", isPartner);
      if (canvas.parentElement.role) canvas.parentElement.ariaChecked = String(isPartner);
      canvas.parentElement.classList.toggle("cv-instead", aside && map === sides[1] && this.large !== null);
    }
    const names = sides.map((side) => this.panels.findLast(({ map }) => map === side)?.alt.split(/[,:]/)[0]);
    for (const said of this.root.querySelectorAll(".cv-sides")) said.textContent = names.join(" ↔ ");
  }

  drawPanel({ context, frame, pixels, map, canvas }, inks) {
    if (map === null) return; // the picture never changes
    if ("result" in canvas.dataset) this.drawResult(pixels, map, inks);
    else this.paint(pixels, map, inks);
    context.putImageData(frame, 0, 0);
  }

  paint(pixels, map, inks, x0, x1) {
    const signed = this.isSigned(map);
    const own = signed ? inksFor(store.settings, true) : inks;
    paintMap(pixels, this.image, this.maps[map], this.range(map), store.settings, own, x0, x1, signed);
  }

  /** The large picture: the result, a frame of the merge animation, or a comparison. */
  drawResult(pixels, map, inks) {
    if (this.merging) {
      const { values, range } = this.merging;
      paintMap(pixels, this.image, values, range, store.settings, inks);
      return;
    }
    const border = Math.round(this.split * (this.image.width - 1));
    const large = this.large ?? map;
    if (!this.compares()) this.paint(pixels, map, inks);
    else if (store.settings.result === "blink") this.paint(pixels, this.away ? this.chosen : large, inks);
    else {
      this.paint(pixels, this.chosen, inks, 0, border);
      this.paint(pixels, large, inks, border);
      for (let y = 0; y < this.image.height; y++) pixels[y * this.image.width + border] = 0xffffffff;
    }
  }

  compares() {
    return store.settings.result !== "alone" && this.chosen !== null && this.header.result !== undefined;
  }

  /** Start or stop the blinking. */
  blink() {
    const blinks = this.compares() && store.settings.result === "blink";
    if (blinks === Boolean(this.blinking)) return;
    clearInterval(this.blinking);
    this.away = false;
    this.blinking = blinks ? setInterval(() => this.turn(), BLINK) : undefined;
  }

  turn() {
    this.away = !this.away;
    this.redrawResult();
  }

  redrawResult() {
    const inks = inksFor(store.settings);
    this.panels.filter(({ canvas }) => "result" in canvas.dataset).forEach((panel) => this.drawPanel(panel, inks));
  }

  /** Play the merge: the deepest map, then what remains of it, layer by layer. */
  playMerge() {
    const order = this.header.merges ?? [];
    if (order.length < 2) return;
    const start = performance.now();
    const values = new Float32Array(this.maps[order[0]].length);
    const play = {};
    this.playing = play;
    const frame = (now) => {
      if (this.playing !== play) return; // restarted, or another result has arrived
      const at = Math.max(0, (now - start) / STEP - 0.5); // show the deepest alone for a moment
      const last = Math.min(Math.floor(at), order.length - 2);
      const share = ease(clamp(at - last, 0, 1));
      this.merging = this.blend(values, order[last], order[last + 1], share);
      this.light(share < 0.5 ? last : last + 1);
      this.redrawResult();
      if (at < order.length - 0.6) return requestAnimationFrame(frame);
      this.merging = this.playing = null;
      this.light(null);
      this.redrawResult();
    };
    requestAnimationFrame(frame);
  }

  /** Interpolate between two maps and their ranges. */
  blend(values, from, to, share) {
    const [a, b] = [this.maps[from], this.maps[to]];
    for (let i = 0; i < values.length; i++) values[i] = a[i] + share * (b[i] - a[i]);
    OUTLINES.delete(values); // its values change every frame
    const [x, y] = [this.range(from), this.range(to)];
    return { values, range: [0, 1].map((end) => x[end] + share * (y[end] - x[end])) };
  }

  /** Mark the panels of the layers merged so far; null to mark none. */
  light(depth) {
    const merges = this.header.merges ?? [];
    this.panels.forEach(({ canvas, map }) => {
      const step = merges.indexOf(map) >= 0 ? merges.indexOf(map) : map;
      const lit = depth !== null && map !== null && !("result" in canvas.dataset) && step <= depth;
      canvas.parentElement.classList.toggle("cv-lit", lit);
    });
  }

  /** Move every panel to the part in view, and show each map's value under the pointer. */
  follow() {
    const { scale, left, top } = store.zoom;
    const style = this.root.style;
    style.setProperty("--cv-zoom", scale);
    style.setProperty("--cv-left", left);
    style.setProperty("--cv-top", top);
    this.root.classList.toggle("cv-zoomed", scale > 1);
    this.root.classList.toggle("cv-pixels", scale >= 3);
    const at = store.pointer;
    this.root.classList.toggle("cv-pointing", Boolean(at));
    if (!at) return;
    style.setProperty("--cv-x", at.x * scale + left);
    style.setProperty("--cv-y", at.y * scale + top);
    for (const { map, reading } of this.panels) reading.textContent = map === null ? "" : this.read(map, at);
  }

  /** A map's words at a place: those of its region, or its value. */
  read(map, at) {
    const words = this.header.regions[map];
    return words ? words[store.regionAt(at)] ?? "" : this.value(map, at).toFixed(2);
  }

  /** A map's value at a place, as it is drawn. */
  value(map, at) {
    const { width, height } = this.image;
    const x = Math.min(width - 1, Math.floor(at.x * width));
    const y = Math.min(height - 1, Math.floor(at.y * height));
    const [low, high] = this.range(map);
    const value = low + this.maps[map][y * width + x] * (high - low);
    return this.isSigned(map) ? 2 * value - 1 : value;
  }
}

function ease(share) {
  return share * share * (3 - 2 * share);
}
