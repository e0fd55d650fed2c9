// One job: where it stands, its curves, log, checkpoints, recipe and events; and what may be done with it.

import * as api from "../api.js";
import { Board } from "../curves.js";
import { ask } from "../dialog.js";
import { h, put, toast } from "../dom.js";
import { Logs } from "../logs.js";
import { asks, eventItem, failureBox, jobBadge, jobLink, plural, progressBar, progressText, tile } from "../parts.js";
import { duration, isOver, methodOf, number, percent, stateOf } from "../text.js";
import { Timeline, generationMarks } from "../timeline.js";
import { checkpointsTab, recipeTab } from "./job_tabs.js";

/** How often curves are asked for while a job trains. */
const CURVES_EVERY_MS = 1000;

export async function job({ main, id, signal, may }) {
  const page = new JobPage(id, signal, may);
  put(main, page.element);
  const { job: first } = await api.jobs.get({ job_id: id }, signal);
  page.update(first);
  page.open(location.hash.slice(1) || "curves");
  api.watchJob(id, { message: ({ job: newest }) => page.update(newest), failure: (failure) => put(page.note, failureBox(failure)) }, signal);
  const timer = setInterval(() => page.tick(), CURVES_EVERY_MS);
  signal.addEventListener("abort", () => clearInterval(timer));
}

class JobPage {
  constructor(id, signal, may) {
    Object.assign(this, { id, signal, may, events: [], generation: null, isNews: true });
    this.head = h("div", { class: "head" });
    this.note = h("div");
    this.bar = h("div", { class: "pad" });
    this.tiles = h("dl", { class: "tiles", "aria-label": "Newest figures" });
    this.timeline = new Timeline();
    this.board = new Board([{ id, label: id, tone: "k0" }], signal);
    this.logs = new Logs(id, signal);
    this.list = h("ul", { class: "events" });
    this.panel = h("div", { role: "tabpanel", id: "panel", tabindex: "-1" });
    this.tabs = h("div", { class: "tabs", role: "tablist", "aria-label": "Parts of the job", onkeydown: (event) => this.key(event) },
      ["curves", "log", "checkpoints", "recipe", "events"].map((name) => h("button", { role: "tab", id: `tab-${name}`, "data-name": name, "aria-controls": "panel", onclick: () => this.open(name) }, name.charAt(0).toUpperCase() + name.slice(1))));
    this.element = h("div", {}, this.head, this.note, h("div", { class: "stack" }, h("section", { class: "card tiles-card", "aria-label": "Progress" }, this.bar, this.tiles), this.timeline.element), this.tabs, this.panel);
  }

  update(job) {
    const wasOver = this.job && isOver(this.job);
    this.job = job;
    this.isNews = true;
    // Events come with what is journaled. A stream of their own would be one more connection, of which browsers allow six.
    if (job.revision !== this.revision) { this.revision = job.revision; this.readEvents(); }
    document.title = `${job.spec.name} · Kindred`;
    const key = JSON.stringify([job.state, job.reason, job.spec.name]);
    if (key !== this.headKey) { this.headKey = key; put(this.head, this.heading(job), h("div", { class: "actions" }, this.buttons(job))); }
    this.showProgress(job);
    if (this.generation !== null && job.generation !== this.generation) this.board.startOver();
    this.generation = job.generation;
    const newest = job.newest_checkpoint?.id ?? "";
    if (newest !== this.checkpoint && this.tab === "checkpoints") checkpointsTab(this.panel, this.id, this.signal, this.may);
    this.checkpoint = newest;
    this.timeline.show(job, this.events);
    if (isOver(job) && wasOver === false) this.board.refresh();
  }

  heading(job) {
    const why = job.failure?.message || job.reason;
    return h("div", {}, h("div", { class: "actions" }, h("h1", {}, job.spec.name), jobBadge(job)),
      h("p", { class: "facts lead" }, h("span", { class: "mono" }, job.id), h("span", {}, methodOf(job)), h("span", {}, asks(job)), h("span", {}, `queue ${job.spec.queue || "default"}`),
        job.forked_from?.job_id && h("span", {}, "forked from ", jobLink(job.forked_from.job_id))),
      why && h("p", { class: job.failure?.message ? "error" : "lead" }, why));
  }

  buttons(job) {
    if (isOver(job) || !this.may("submitter")) return null;
    const run = async (call, question, done) => {
      const reason = question ? await ask(question) : "";
      if (reason === null) return;
      try { await call({ job_id: job.id, ...(reason ? { reason } : {}) }); toast(done); } catch (error) { toast(error.message, true); }
    };
    const state = stateOf(job);
    return [
      state === "suspended" ? h("button", { class: "primary", onclick: () => run(api.jobs.resume, null, `${job.id} waits for devices again`) }, "Resume")
        : state !== "cancelling" && state !== "suspending" && h("button", { onclick: () => run(api.jobs.suspend, { title: `Suspend ${job.spec.name}?`, text: "It writes a checkpoint and gives its devices back; it goes on from there when it is resumed.", action: "Suspend", asksReason: true }, `${job.id} stops with a checkpoint`) }, "Suspend"),
      state !== "cancelling" && h("button", { class: "danger", id: "cancel", onclick: () => run(api.jobs.cancel, { title: `Cancel ${job.spec.name}?`, text: "It ends for good; its checkpoints stay.", action: "Cancel the job", isDanger: true, asksReason: true }, `${job.id} is cancelled`) }, "Cancel"),
    ];
  }

  showProgress(job) {
    const progress = job.progress ?? {};
    const activity = ["", "training"].includes(progress.activity ?? "") ? "" : progress.activity;
    put(this.bar, progressBar(job), h("div", { class: "steps" }, h("span", {}, progressText(job) || "no step yet"), h("span", {}, activity)));
    const knn = job.result?.metrics?.knn_accuracy_percent ?? progress.knn_accuracy_percent;
    const hasPoints = progress.images_per_s > 0 || progress.loss !== 0;
    const ledger = job.ledger ?? {};
    put(this.tiles,
      tile("Loss", hasPoints ? number(progress.loss) : "–"), tile("Learning rate", hasPoints ? number(progress.lr) : "–"),
      tile("Images/s", hasPoints ? number(progress.images_per_s) : "–"), tile("kNN", knn === null || knn === undefined ? "–" : `${knn.toFixed(1)} %`),
      tile("Waits for data", hasPoints ? percent(progress.data_wait_share) : "–"),
      tile("Goodput", percent(ledger.goodput, 1), ledger.elapsed_s ? `of ${duration(ledger.elapsed_s)}` : ""),
      tile("Generation", job.generation || "–", job.infrastructure_failures ? plural(job.infrastructure_failures, "fault") : ""));
  }

  async readEvents() {
    if (this.isReading) { this.isBehind = true; return; }
    this.isReading = true;
    try {
      const { events } = await api.events.list({ job_id: this.id, tail: 1000, page_size: 1000 }, this.signal);
      this.events = events;
      this.board.mark(generationMarks(this.job, events));
      this.timeline.show(this.job, events);
      put(this.list, events.toReversed().map(eventItem));
    } catch (error) {
      if (error.name !== "AbortError") put(this.note, failureBox(error));
    } finally {
      this.isReading = false;
      if (this.isBehind) { this.isBehind = false; this.readEvents(); }
    }
  }

  /** New points are asked for where there is news and somebody looks. */
  tick() {
    if (document.hidden) return;
    if (!isOver(this.job ?? {}) && this.job) this.timeline.show(this.job, this.events);
    if (!this.isNews || this.tab !== "curves") return;
    this.isNews = false;
    this.board.mark(generationMarks(this.job, this.events));
    this.board.refresh();
  }

  open(name) {
    const known = ["curves", "log", "checkpoints", "recipe", "events"].includes(name) ? name : "curves";
    this.tab = known;
    this.logs.stream?.abort();
    for (const tab of this.tabs.children) {
      const isOpen = tab.dataset.name === known;
      tab.setAttribute("aria-selected", String(isOpen));
      tab.tabIndex = isOpen ? 0 : -1;
    }
    this.panel.setAttribute("aria-labelledby", `tab-${known}`);
    history.replaceState(null, "", known === "curves" ? location.pathname : `#${known}`);
    if (known === "curves") { put(this.panel, this.board.element); this.board.refresh(); }
    if (known === "log") { put(this.panel, this.logs.element); this.logs.open(); }
    if (known === "events") put(this.panel, h("div", { class: "card" }, this.list));
    if (known === "checkpoints") checkpointsTab(this.panel, this.id, this.signal, this.may);
    if (known === "recipe") recipeTab(this.panel, this.id, this.signal);
  }

  /** Arrow keys move between tabs. */
  key(event) {
    const all = [...this.tabs.children];
    const here = all.findIndex((tab) => tab.dataset.name === this.tab);
    const to = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const next = all[(to + all.length) % all.length];
    this.open(next.dataset.name);
    next.focus();
  }
}

