// A job's log: the last lines, then what comes; with a search over what is shown.

import * as api from "./api.js";
import { h, put } from "./dom.js";
import { empty } from "./parts.js";
import { label } from "./text.js";

const TAIL = 1000;
const MOST = 5000;
const LEVELS = [["LOG_LEVEL_DEBUG", "All"], ["LOG_LEVEL_INFO", "Info"], ["LOG_LEVEL_WARN", "Warnings"], ["LOG_LEVEL_ERROR", "Errors"]];

export class Logs {
  constructor(id, signal) {
    this.id = id;
    this.signal = signal;
    this.lines = [];
    this.log = h("div", { class: "log", role: "log", tabindex: "0", "aria-label": "Log lines" });
    this.search = h("input", { type: "search", placeholder: "Search the lines", "aria-label": "Search the lines", oninput: () => this.render() });
    this.level = h("select", { "aria-label": "Least level", onchange: () => this.open() }, LEVELS.map(([value, text]) => h("option", { value, selected: value === "LOG_LEVEL_INFO" }, text)));
    this.found = h("span", { class: "small faint nowrap" });
    this.element = h("section", { class: "card", "aria-label": "Log" }, h("div", { class: "log-bar" }, this.search, this.level, this.found), this.log);
  }

  open() {
    this.stream?.abort();
    this.stream = new AbortController();
    const stop = () => this.stream.abort();
    this.signal.addEventListener("abort", stop, { once: true });
    this.lines = [];
    put(this.log, empty("No lines yet"));
    const request = { job_id: this.id, follow: true, tail: TAIL, min_level: this.level.value };
    api.readLogs(request, { message: (answer) => this.take(answer.lines), failure: (failure) => put(this.log, empty(failure.message)) }, this.stream.signal);
  }

  take(lines) {
    this.lines.push(...lines);
    if (this.lines.length > MOST) { this.lines.splice(0, this.lines.length - MOST); this.render(); return; }
    const isAtEnd = this.log.scrollHeight - this.log.scrollTop - this.log.clientHeight < 40;
    this.log.querySelector(".empty")?.remove();
    this.log.append(...lines.filter((line) => this.matches(line)).map((line) => this.row(line)));
    this.count();
    if (isAtEnd) this.log.scrollTop = this.log.scrollHeight;
  }

  get words() {
    return this.search.value.trim().toLowerCase();
  }

  text(line) {
    const fields = Object.entries(line.fields ?? {}).map(([key, value]) => `${key}=${value}`);
    return [line.message, ...fields].join(" ");
  }

  matches(line) {
    return !this.words || this.text(line).toLowerCase().includes(this.words);
  }

  render() {
    const rows = this.lines.filter((line) => this.matches(line)).map((line) => this.row(line));
    put(this.log, rows.length ? rows : empty(this.lines.length ? "No line has this" : "No lines yet"));
    this.count();
    this.log.scrollTop = this.log.scrollHeight;
  }

  count() {
    const n = this.log.querySelectorAll(".what").length;
    put(this.found, this.words ? `${n} of ${this.lines.length}` : `${n} lines`);
  }

  row(line) {
    const level = label(line.level, "LOG_LEVEL_");
    const at = new Date(line.time_unix_ms);
    const time = line.time_unix_ms ? `${at.toLocaleTimeString("en-GB")}.${String(at.getMilliseconds()).padStart(3, "0")}` : "";
    const of = line.rank === null || line.rank === undefined ? line.node_id.slice(0, 8) : `rank ${line.rank}`;
    return h("div", { class: level === "warn" ? "warn" : level === "error" ? "error-line" : "", title: `${level} · generation ${line.generation} · ${line.node_id}` },
      h("span", { class: "at" }, time), h("span", { class: "of" }, of), h("span", { class: "what" }, this.marked(this.text(line))));
  }

  marked(text) {
    const words = this.words;
    if (!words) return text;
    const parts = [];
    const lower = text.toLowerCase();
    let from = 0;
    for (let at = lower.indexOf(words); at >= 0; at = lower.indexOf(words, from)) {
      parts.push(text.slice(from, at), h("mark", {}, text.slice(at, at + words.length)));
      from = at + words.length;
    }
    return [...parts, text.slice(from)];
  }
}
