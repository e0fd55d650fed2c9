// What a job did when: phases and generations on the axis of time, from its events.

import { h, put, s } from "./dom.js";
import { clock, duration, isOver, moment } from "./text.js";

/** Which phase begins with which event. */
const BEGINS = {
  JOB_SUBMITTED: "waiting", JOB_PLACED: "starting", JOB_RUNS: "training", GENERATION_ENDED: "recovering", JOB_GIVES_WAY: "waiting",
  JOB_SUSPENDED: "suspended", JOB_RESUMED: "waiting",
};
const ENDS = ["JOB_SUCCEEDED", "JOB_FAILED", "JOB_CANCELLED"];
const NAMES = { waiting: "waiting", starting: "starting and meeting", training: "training", recovering: "recovering", suspended: "suspended" };

/** Phases in order, faults and checkpoints. */
export function phases(job, events, now) {
  const spans = [];
  const points = [];
  const created = moment(job.create_time) ?? now;
  let open = { phase: "waiting", from: created, generation: 0 };
  for (const event of events) {
    const at = moment(event.time);
    const kind = event.kind.replace("EVENT_KIND_", "");
    let phase = BEGINS[kind];
    // A generation that is placed after another one ended belongs to the recovery.
    if (phase === "starting" && open?.phase === "recovering") phase = "recovering";
    if (phase && open && (phase !== open.phase || event.generation !== open.generation)) {
      if (at > open.from) spans.push({ ...open, to: at });
      open = { phase, from: at, generation: event.generation };
    }
    if (ENDS.includes(kind) && open) { spans.push({ ...open, to: at }); open = null; }
    if (kind === "RANK_FAILED") points.push({ at, kind: "fault", text: event.message });
    if (kind === "CHECKPOINT_RECORDED") points.push({ at, kind: "checkpoint", text: event.message });
  }
  if (open) spans.push({ ...open, to: isOver(job) ? moment(job.end_time) ?? now : now });
  return { spans, points };
}

/** Steps at which generations after the first began, for charts. */
export function generationMarks(job, events) {
  const runs = new Map(events.filter((event) => event.kind === "EVENT_KIND_JOB_RUNS").map((event) => [event.generation, moment(event.time)]));
  return (job.ledger?.intervals ?? []).filter((interval) => interval.generation > 1).map((interval) => ({
    step: interval.first_step, time: runs.get(interval.generation), label: `g${interval.generation}`,
    title: `generation ${interval.generation} (${interval.world_size} ranks) from step ${interval.first_step}`,
  }));
}

export class Timeline {
  constructor() {
    this.track = h("div", { class: "track" });
    this.legend = h("div", { class: "legend" });
    this.element = h("section", { class: "card timeline", "aria-label": "What the job did when" }, this.legend, this.track);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.track);
  }

  show(job, events) {
    this.told = phases(job, events, Date.now());
    this.draw();
  }

  draw() {
    const width = this.track.clientWidth;
    const { spans, points } = this.told ?? { spans: [] };
    if (!width || !spans.length) return;
    const [from, to] = [spans[0].from, Math.max(spans.at(-1).to, spans[0].from + 1000)];
    const x = (time) => ((time - from) / (to - from)) * width;
    const bars = spans.map(({ phase, from: start, to: end, generation }) => {
      const size = Math.max(1.5, x(end) - x(start) - 1);
      const what = `${NAMES[phase]}${generation ? `, generation ${generation}` : ""}: ${duration((end - start) / 1000)} from ${clock(start)}`;
      return [s("rect", { class: phase, x: x(start), y: 6, width: size, height: 22, rx: Math.min(4, size / 2) }, s("title", {}, what)),
        phase === "training" && size > 34 ? s("text", { class: "generation", x: x(start) + 7, y: 21 }, `g${generation}`) : null].filter(Boolean);
    });
    const dots = points.map(({ at, kind, text }) => kind === "fault"
      ? s("path", { class: "fault", d: `M${x(at) - 4},0h8l-4,6z` }, s("title", {}, `${clock(at)}: ${text}`))
      : s("circle", { class: "checkpoint", cx: x(at), cy: 34, r: 2.5 }, s("title", {}, `${clock(at)}: ${text}`)));
    const labels = [s("text", { x: 0, y: 52 }, clock(from)), s("text", { x: width, y: 52, "text-anchor": "end" }, `${clock(to)} · ${duration((to - from) / 1000)}`)];
    put(this.track, s("svg", { role: "img", "aria-label": this.summary(spans, points) }, bars, dots, labels));
    this.drawLegend(spans, points);
  }

  totals(spans) {
    const totals = new Map();
    for (const { phase, from, to } of spans) totals.set(phase, (totals.get(phase) ?? 0) + (to - from) / 1000);
    return totals;
  }

  summary(spans, points) {
    const parts = [...this.totals(spans)].map(([phase, seconds]) => `${NAMES[phase]} ${duration(seconds)}`);
    return `${parts.join(", ")}; ${points.filter((point) => point.kind === "fault").length} faults`;
  }

  drawLegend(spans, points) {
    const phases = [...this.totals(spans)].map(([phase, seconds]) => h("span", { class: phase }, h("i"), `${NAMES[phase]} ${duration(seconds)}`));
    const count = (kind, one, many) => {
      const n = points.filter((point) => point.kind === kind).length;
      return n ? h("span", { class: kind }, h("i"), `${n} ${n === 1 ? one : many}`) : null;
    };
    put(this.legend, phases, count("fault", "fault", "faults"), count("checkpoint", "checkpoint", "checkpoints"));
  }
}
