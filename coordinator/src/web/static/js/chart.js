// One chart: lines through the means of buckets, and a band from their least to their most, so that no spike is lost.

import { h, put, s } from "./dom.js";
import { clock, compact, number, whole } from "./text.js";

const EDGE = { left: 46, right: 10, top: 10, bottom: 22 };

/** Round values between two others, at most so many. */
function ticks(least, most, wanted) {
  const span = most - least;
  if (!(span > 0)) return [least];
  const raw = span / wanted;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].find((factor) => factor * unit >= raw) * unit;
  const found = [];
  for (let at = Math.ceil(least / step) * step; at <= most + step * 1e-9; at += step) found.push(Math.abs(at) < step * 1e-9 ? 0 : at);
  return found;
}

function tickText(value) {
  const size = Math.abs(value);
  if (size >= 10_000) return compact(value);
  if (size !== 0 && size < 0.001) return value.toExponential(0);
  return String(Number(value.toPrecision(6)));
}

/** The curves of one series. `sync` tells other charts where the pointer is: {at(x, from)}. */
export class Chart {
  constructor(title, { sync, onZoom } = {}) {
    this.curves = [];
    this.marks = [];
    this.options = { x: "steps", log: false };
    this.sync = sync;
    this.onZoom = onZoom;
    this.value = h("span", { class: "chart-value" });
    this.plot = h("div", { class: "plot", tabindex: "0", role: "img", "aria-label": `${title}: no points yet` });
    this.svg = s("svg", { "aria-hidden": "true" });
    this.tip = h("div", { class: "tip", hidden: true });
    this.spoken = h("span", { class: "visually-hidden", "aria-live": "polite" });
    this.plot.append(this.svg, this.tip, this.spoken);
    this.element = h("figure", { class: "card chart", "data-series": title },
      h("figcaption", { class: "chart-head" }, h("h3", { title }, title), this.value), this.plot);
    this.title = title;
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.plot);
    this.listen();
  }

  /** `curves`: [{label, tone, buckets}]; `marks`: [{step, time, label}]. */
  show(curves, marks, options) {
    [this.curves, this.marks, this.options] = [curves, marks, { ...this.options, ...options }];
    this.draw();
  }

  x(bucket) {
    return this.options.x === "time" ? bucket.last_time_unix_ms : (bucket.first_step + bucket.last_step) / 2;
  }

  /** What is drawn: finite points that the scale can show. */
  drawable() {
    const isShown = (bucket) => bucket.mean !== null && (!this.options.log || bucket.least > 0);
    return this.curves.map((curve) => ({ ...curve, points: curve.buckets.filter(isShown).map((bucket) => ({ ...bucket, x: this.x(bucket) })) }));
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.plot;
    if (!width) return;
    this.drawn = this.drawable();
    const points = this.drawn.flatMap((curve) => curve.points);
    this.describe();
    if (!points.length) {
      put(this.svg);
      if (!this.plot.querySelector(".nothing")) this.plot.append(h("div", { class: "nothing" }, "no points yet"));
      return;
    }
    this.plot.querySelector(".nothing")?.remove();
    const scale = this.scale(points, width, height);
    this.scaled = scale;
    this.cross = s("line", { class: "cross", y1: EDGE.top, y2: height - EDGE.bottom, visibility: "hidden" });
    this.selected = s("rect", { class: "select", y: EDGE.top, height: height - EDGE.top - EDGE.bottom, width: 0 });
    put(this.svg, this.grid(scale), this.markLines(scale), this.drawn.map((curve) => this.curve(curve, scale)), this.notFinite(scale), this.cross, this.selected);
  }

  scale(points, width, height) {
    const toY = this.options.log ? Math.log10 : (value) => value;
    let [left, right] = [Infinity, -Infinity];
    let [least, most] = [Infinity, -Infinity];
    for (const point of points) {
      [left, right] = [Math.min(left, point.x), Math.max(right, point.x)];
      [least, most] = [Math.min(least, toY(point.least)), Math.max(most, toY(point.most))];
    }
    if (left === right) [left, right] = [left - 1, right + 1];
    const air = most > least ? 0.06 * (most - least) : Math.max(Math.abs(most) * 0.05, 1e-9);
    // A figure that is never below nothing is drawn from nothing where that is near.
    const floor = !this.options.log && least >= 0 && least < 0.35 * most ? 0 : least - air;
    [least, most] = [floor, most + air];
    const innerWidth = width - EDGE.left - EDGE.right;
    const innerHeight = height - EDGE.top - EDGE.bottom;
    return {
      width, height, left, right, least, most,
      x: (value) => EDGE.left + ((value - left) / (right - left)) * innerWidth,
      y: (value) => EDGE.top + (1 - (toY(value) - least) / (most - least)) * innerHeight,
      back: (pixel) => left + ((pixel - EDGE.left) / innerWidth) * (right - left),
    };
  }

  grid(scale) {
    const rows = ticks(scale.least, scale.most, 4).map((tick) => {
      const value = this.options.log ? 10 ** tick : tick;
      const y = Math.round(scale.y(value)) + 0.5;
      return [s("line", { class: "grid", x1: EDGE.left, x2: scale.width - EDGE.right, y1: y, y2: y }),
        s("text", { x: EDGE.left - 8, y: y + 3.5, "text-anchor": "end" }, tickText(Number(value.toPrecision(6))))];
    });
    const wanted = Math.max(2, Math.floor(scale.width / 64));
    const columns = ticks(scale.left, scale.right, wanted).filter((tick) => this.options.x === "time" || Number.isInteger(tick)).map((tick) => {
      const text = this.options.x === "time" ? new Date(tick).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", second: scale.right - scale.left < 6e5 ? "2-digit" : undefined }) : tickText(tick);
      const x = scale.x(tick);
      const anchor = x > scale.width - 30 ? "end" : "middle";
      return s("text", { x: Math.min(x, scale.width - EDGE.right), y: scale.height - 5, "text-anchor": anchor }, text);
    });
    return [rows, columns];
  }

  markLines(scale) {
    let free = -Infinity;
    return this.marks.map((mark) => {
      const at = this.options.x === "time" ? mark.time : mark.step;
      if (!at || at < scale.left || at > scale.right) return null;
      const x = scale.x(at);
      const hasRoom = x > free + 4 && x < scale.width - 24;
      if (hasRoom) free = x + 7 * mark.label.length;
      return [s("line", { class: "mark", x1: x, x2: x, y1: EDGE.top, y2: scale.height - EDGE.bottom }, s("title", {}, mark.title ?? mark.label)),
        hasRoom && s("text", { class: "mark-label", x: x + 3, y: EDGE.top + 7 }, mark.label)].filter(Boolean);
    });
  }

  curve({ points, tone }, scale) {
    if (!points.length) return null;
    const at = (point, value) => `${scale.x(point.x).toFixed(1)},${scale.y(value).toFixed(1)}`;
    const parts = [];
    if (points.some((point) => point.n_points > 1)) {
      const upper = points.map((point) => at(point, point.most));
      const lower = points.map((point) => at(point, point.least)).reverse();
      parts.push(s("path", { class: `band ${tone}`, d: `M${upper.join("L")}L${lower.join("L")}Z` }));
    }
    parts.push(s("path", { class: `line ${tone}`, d: `M${points.map((point) => at(point, point.mean)).join("L")}` }));
    if (points.length < 40) {
      parts.push(points.map((point) => s("circle", { class: `dot ${tone}`, cx: scale.x(point.x), cy: scale.y(point.mean), r: 3 })));
    }
    return parts;
  }

  /** A small red square at the foot where values are no numbers. */
  notFinite(scale) {
    return this.curves.flatMap((curve) => curve.buckets.filter((bucket) => bucket.n_not_finite > 0)).map((bucket) =>
      s("rect", { class: "bad", x: scale.x(this.x(bucket)) - 2, y: scale.height - EDGE.bottom - 5, width: 4, height: 5 }, s("title", {}, `${bucket.n_not_finite} values are no finite numbers`)));
  }

  describe() {
    const last = this.drawn.map((curve) => curve.points.at(-1)).filter(Boolean);
    if (this.drawn.length === 1 && last.length) {
      put(this.value, number(last[0].mean));
      this.plot.setAttribute("aria-label", `${this.title}: ${number(last[0].mean)} at step ${whole(last[0].last_step)}. Arrow keys read the curve.`);
    } else if (this.drawn.length > 1) put(this.value);
  }

  /** Shows the values at a place of the horizontal axis. */
  pointAt(x, isSpoken = false) {
    const scale = this.scaled;
    if (!scale || x === null || x < scale.left || x > scale.right) return this.leave();
    const near = this.drawn.map((curve) => ({ curve, point: nearest(curve.points, x) })).filter(({ point }) => point);
    if (!near.length) return this.leave();
    const first = near.reduce((best, one) => (Math.abs(one.point.x - x) < Math.abs(best.point.x - x) ? one : best)).point;
    const pixel = scale.x(first.x);
    this.cross.setAttribute("x1", pixel);
    this.cross.setAttribute("x2", pixel);
    this.cross.setAttribute("visibility", "visible");
    const steps = first.first_step === first.last_step ? `step ${whole(first.last_step)}` : `steps ${whole(first.first_step)}–${whole(first.last_step)}`;
    const lines = near.map(({ curve, point }) => h("div", { class: curve.tone }, h("i"), near.length > 1 ? `${curve.label} ` : "", h("b", {}, number(point.mean)),
      point.n_points > 1 ? ` (${number(point.least)} to ${number(point.most)})` : ""));
    put(this.tip, h("div", { class: "faint" }, `${steps} · ${clock(first.last_time_unix_ms)}`), lines);
    this.tip.hidden = false;
    const room = scale.width - this.tip.offsetWidth;
    this.tip.style.setProperty("left", `${Math.max(0, Math.min(pixel + 12, room > pixel + 12 ? pixel + 12 : pixel - this.tip.offsetWidth - 12))}px`);
    this.tip.style.setProperty("top", "0px");
    if (isSpoken) this.spoken.textContent = `${steps}: ${near.map(({ curve, point }) => `${near.length > 1 ? `${curve.label} ` : ""}${number(point.mean)}`).join(", ")}`;
    return first.x;
  }

  leave() {
    this.cross?.setAttribute("visibility", "hidden");
    this.tip.hidden = true;
    return null;
  }

  listen() {
    let from = null;
    const place = (event) => this.scaled?.back(event.clientX - this.plot.getBoundingClientRect().left) ?? null;
    this.plot.addEventListener("pointermove", (event) => {
      const x = place(event);
      this.pointAt(x);
      this.sync?.(x, this);
      if (from !== null && this.scaled) {
        const [a, b] = [this.scaled.x(Math.min(from, x)), this.scaled.x(Math.max(from, x))];
        this.selected.setAttribute("x", a);
        this.selected.setAttribute("width", Math.max(0, b - a));
      }
    });
    this.plot.addEventListener("pointerleave", () => { this.leave(); this.sync?.(null, this); });
    this.plot.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "mouse" && event.button === 0 && this.onZoom) { from = place(event); this.plot.setPointerCapture(event.pointerId); }
    });
    this.plot.addEventListener("pointerup", (event) => {
      const [start, end] = [from, place(event)];
      from = null;
      this.selected?.setAttribute("width", 0);
      if (start !== null && this.scaled && Math.abs(this.scaled.x(start) - this.scaled.x(end)) > 8) this.onZoom?.(Math.min(start, end), Math.max(start, end));
    });
    this.plot.addEventListener("dblclick", () => this.onZoom?.(null, null));
    this.plot.addEventListener("keydown", (event) => this.key(event));
    this.plot.addEventListener("blur", () => { this.leave(); this.read = undefined; });
  }

  /** Left and right read the first curve point by point. */
  key(event) {
    const points = this.drawn?.[0]?.points ?? [];
    const moves = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity, PageUp: -10, PageDown: 10 };
    if (event.key === "Escape") { this.leave(); this.onZoom?.(null, null); return; }
    if (!(event.key in moves) || !points.length) return;
    event.preventDefault();
    const start = this.read ?? points.length - 1 - Math.min(0, moves[event.key]);
    this.read = Math.max(0, Math.min(points.length - 1, start + moves[event.key]));
    this.pointAt(points[this.read].x, true);
  }
}

function nearest(points, x) {
  let [low, high] = [0, points.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (points[middle].x < x) low = middle + 1; else high = middle;
  }
  const before = points[low - 1];
  return before && Math.abs(before.x - x) < Math.abs((points[low]?.x ?? Infinity) - x) ? before : points[low];
}

