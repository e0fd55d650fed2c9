// A board of charts: all series of one job, or the same series of several. Only what is in sight is asked for, in as many buckets as
// can be drawn; while a job trains, only what is new.

import * as api from "./api.js";
import { Chart } from "./chart.js";
import { h, put } from "./dom.js";
import { empty, failureBox } from "./parts.js";
import { seriesTitle } from "./text.js";

const MAX_BUCKETS = 360;
/** Series of one call: the first charts are drawn while others are still read. */
const AT_ONCE = 3;
/** What people look at first; others follow by name. */
const FIRST = ["loss", "knn_accuracy_percent", "images_per_s", "lr", "alignment", "uniformity", "effective_rank", "embedding_std", "queue_age"];

function order(a, b) {
  const rank = (name) => { const place = FIRST.findIndex((first) => name === first || (first === "queue_age" && name.startsWith(first))); return place < 0 ? FIRST.length : place; };
  return rank(a) - rank(b) || a.localeCompare(b);
}

/** Curves of one job, by series, as far as they were read. */
class Source {
  constructor(id, label, tone) {
    Object.assign(this, { id, label, tone, curves: new Map(), range: [0, 0], epoch: 0 });
  }

  /** Reads these series, what is new of those that are known and all of the others; says after each few of them that they came. */
  async read(series, signal, came) {
    const [after_step, until_step] = this.range;
    const ask = (names, range) => api.jobs.curves({ job_id: this.id, series: names, max_buckets: MAX_BUCKETS, ...range }, signal);
    const known = series.filter((name) => this.curves.has(name) && !until_step);
    const fresh = series.filter((name) => !this.curves.has(name));
    const asked = [];
    const { epoch } = this;
    // Whoever looks at other steps by now has no use for these.
    const taken = (isNews) => (answer) => { if (epoch === this.epoch) { this.take(answer, isNews); came(); } };
    for (let at = 0; at < fresh.length; at += AT_ONCE) {
      asked.push(ask(fresh.slice(at, at + AT_ONCE), { after_step, until_step }).then(taken(false)));
    }
    if (known.length) {
      const newest = Math.min(...known.map((name) => this.lastStep(name)));
      asked.push(ask(known, { after_step: newest }).then(taken(true)));
    }
    return Promise.all(asked);
  }

  lastStep(name) {
    return this.curves.get(name).at(-1)?.last_step ?? 0;
  }

  take({ curves }, isNews) {
    for (const { series, buckets } of curves) {
      const known = this.curves.get(series) ?? [];
      const last = known.at(-1)?.last_step ?? -1;
      const all = isNews ? [...known, ...buckets.filter((bucket) => bucket.first_step > last)] : buckets;
      // Too fine by now: the next look reads it anew, in wider buckets.
      if (all.length > 3 * MAX_BUCKETS) this.curves.delete(series); else this.curves.set(series, all);
    }
  }

  forget(range = this.range) {
    this.curves.clear();
    this.epoch += 1;
    this.range = range;
  }
}

export class Board {
  /** `jobs`: [{id, label, tone}]. */
  constructor(jobs, signal) {
    this.sources = jobs.map(({ id, label, tone }) => new Source(id, label, tone));
    this.signal = signal;
    this.charts = new Map();
    this.inSight = new Set();
    this.marks = [];
    this.options = { x: "steps", log: false };
    this.wanted = "";
    this.grid = h("div", { class: "charts", id: "charts" });
    this.note = h("div");
    this.reset = h("button", { class: "plain", hidden: true, onclick: () => this.zoom(null, null) }, "Whole run");
    this.element = h("div", {}, this.bar(), this.note, this.grid);
    this.observer = new IntersectionObserver((entries) => {
      for (const entry of entries) entry.isIntersecting ? this.inSight.add(entry.target.dataset.name) : this.inSight.delete(entry.target.dataset.name);
      if (entries.some((entry) => entry.isIntersecting)) this.read();
    }, { rootMargin: "200px" });
    signal.addEventListener("abort", () => { this.observer.disconnect(); for (const chart of this.charts.values()) chart.observer.disconnect(); });
  }

  bar() {
    const choice = (name, options) => {
      const buttons = options.map(([value, text]) => h("button", { type: "button", "aria-pressed": String(this.options[name] === value), onclick: (event) => {
        this.options[name] = value;
        for (const button of buttons) button.setAttribute("aria-pressed", String(button === event.currentTarget));
        this.draw();
      } }, text));
      return buttons;
    };
    const search = h("input", { type: "search", placeholder: "Find a series", "aria-label": "Find a series", oninput: () => { this.wanted = search.value.trim().toLowerCase(); this.arrange(); } });
    return h("div", { class: "board-bar" },
      h("div", { class: "segmented", role: "group", "aria-label": "Horizontal axis" }, choice("x", [["steps", "Steps"], ["time", "Time"]])),
      h("div", { class: "segmented", role: "group", "aria-label": "Vertical axis" }, choice("log", [[false, "Linear"], [true, "Log"]])),
      h("div", { class: "grow" }, search), this.reset,
      this.sources.length > 1 && h("div", { class: "legend" }, this.sources.map((source) => h("span", { class: source.tone }, h("i"), source.label))));
  }

  /** Finds out which series there are; then whatever is in sight is read. */
  async refresh() {
    if (this.isBusy) { this.isBehind = true; return; }
    this.isBusy = true;
    try {
      const answers = await Promise.all(this.sources.map((source) => api.jobs.curves({ job_id: source.id, series: ["-"] }, this.signal)));
      this.arrange([...new Set(answers.flatMap((answer) => answer.series))].sort(order));
      await this.read();
      put(this.note);
    } catch (error) {
      if (error.name !== "AbortError") put(this.note, failureBox(error));
    } finally {
      this.isBusy = false;
      if (this.isBehind) { this.isBehind = false; this.refresh(); }
    }
  }

  arrange(series = this.series ?? []) {
    this.series = series;
    for (const name of series) {
      if (this.charts.has(name)) continue;
      const chart = new Chart(seriesTitle(name), { sync: (x, from) => this.point(x, from), onZoom: (from, to) => this.zoom(from, to) });
      chart.element.dataset.name = name;
      this.charts.set(name, chart);
      this.observer.observe(chart.element);
    }
    const shown = series.filter((name) => name.toLowerCase().includes(this.wanted) || seriesTitle(name).toLowerCase().includes(this.wanted));
    const elements = shown.map((name) => this.charts.get(name).element);
    if (elements.length !== this.grid.children.length || elements.some((element, idx) => this.grid.children[idx] !== element)) {
      put(this.grid, elements.length ? elements : empty(series.length ? "No series of that name" : "No points yet", h("span", {}, series.length ? "" : "Curves begin with the first steps.")));
    }
  }

  async read() {
    const series = [...this.inSight];
    if (!series.length) return;
    try {
      await Promise.all(this.sources.map((source) => source.read(series.sort(order), this.signal, () => this.draw())));
    } catch (error) {
      if (error.name !== "AbortError") put(this.note, failureBox(error));
    }
  }

  draw() {
    for (const name of this.inSight) {
      const curves = this.sources.map(({ label, tone, curves }) => ({ label, tone: this.sources.length > 1 ? tone : "k0", buckets: curves.get(name) ?? [] }));
      this.charts.get(name)?.show(curves.filter((curve) => curve.buckets.length || this.sources.length === 1), this.marks, this.options);
    }
  }

  point(x, from) {
    for (const name of this.inSight) {
      const chart = this.charts.get(name);
      if (chart !== from) chart?.pointAt(x);
    }
  }

  /** Reads some steps more finely, or the whole run again. */
  zoom(from, to) {
    if (from !== null && this.options.x === "time") return;
    const range = from === null ? [0, 0] : [Math.max(0, Math.floor(from) - 1), Math.ceil(to)];
    this.reset.hidden = from === null;
    for (const source of this.sources) source.forget(range);
    this.read();
  }

  /** Where generations began. */
  mark(marks) {
    this.marks = marks;
  }

  /** A newer generation takes some steps anew. */
  startOver() {
    for (const source of this.sources) source.forget();
  }
}
