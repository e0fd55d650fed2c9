// The frame around all pages: which page an address names, who is signed in, how many jobs wait.

import * as api from "./api.js";
import { h, put, toast } from "./dom.js";
import { failureBox } from "./parts.js";
import { cluster } from "./pages/cluster.js";
import { compare } from "./pages/compare.js";
import { job } from "./pages/job.js";
import { jobs } from "./pages/jobs.js";
import { queue } from "./pages/queue.js";
import { signIn } from "./pages/signin.js";

const ROUTES = [
  [/^\/$/, cluster, "Cluster"],
  [/^\/queue$/, queue, "Queue"],
  [/^\/jobs$/, jobs, "Jobs"],
  [/^\/jobs\/([^/]+)$/, job, "Job"],
  [/^\/compare$/, compare, "Compare"],
];
const ROLES = ["viewer", "submitter", "operator", "admin"];

let caller = { state: "open", role: "admin", project: "*" };
let page = new AbortController();

/** Whether the caller's role allows at least this; the coordinator decides in any case. */
const may = (role, ofAll = false) => ROLES.indexOf(caller.role) >= ROLES.indexOf(role) && (!ofAll || caller.project === "*");

function show() {
  page.abort();
  page = new AbortController();
  const main = document.getElementById("main");
  if (caller.state === "signed-out") {
    document.title = "Sign in · Kindred";
    signIn(main, start);
    return;
  }
  const path = decodeURI(location.pathname);
  for (const link of document.querySelectorAll(".nav a")) {
    const target = link.getAttribute("href");
    const isHere = target === path || (target !== "/" && path.startsWith(`${target}/`));
    isHere ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
  for (const [pattern, render, title] of ROUTES) {
    const found = path.match(pattern);
    if (!found) continue;
    document.title = `${found[1] ?? title} · Kindred`;
    put(main);
    Promise.resolve(render({ main, id: found[1], query: new URLSearchParams(location.search), signal: page.signal, may, go })).catch((error) => {
      if (error.name !== "AbortError") put(main, failureBox(error));
    });
    return;
  }
}

/** Goes to another page of the dashboard. */
function go(address, replaces = false) {
  history[replaces ? "replaceState" : "pushState"](null, "", address);
  show();
  if (!replaces) { scrollTo(0, 0); document.getElementById("main").focus({ preventScroll: true }); }
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='/']");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || link.target) return;
  event.preventDefault();
  go(link.getAttribute("href"));
});
addEventListener("popstate", show);

function showSession() {
  const isSignedIn = caller.state === "signed-in";
  const leave = async () => {
    await api.session.signOut();
    caller = { state: "signed-out" };
    showSession();
    show();
  };
  put(document.getElementById("session"), isSignedIn && [
    h("span", { title: `${caller.role}, project ${caller.project}` }, caller.name), h("button", { class: "plain", onclick: leave }, "Sign out")]);
}

async function countWaiting() {
  if (caller.state === "signed-out" || document.hidden) return;
  try {
    const { jobs: waiting } = await api.jobs.list({ states: ["JOB_STATE_PENDING"], page_size: 100 });
    const count = document.getElementById("n-waiting");
    count.hidden = !waiting.length;
    count.textContent = waiting.length >= 100 ? "99+" : waiting.length;
    count.setAttribute("aria-label", `${waiting.length} jobs wait`);
  } catch { /* The page itself says what is wrong. */ }
}

async function start() {
  try {
    caller = await api.session.show();
  } catch (error) {
    put(document.getElementById("main"), failureBox(error));
    setTimeout(start, 2000);
    return;
  }
  showSession();
  show();
  countWaiting();
}

api.listen(
  () => { if (caller.state !== "signed-out") { toast("Signed out: the token is good no more", true); caller = { state: "signed-out" }; showSession(); show(); } },
  (isThere) => { document.getElementById("offline").hidden = isThere; },
);
setInterval(countWaiting, 5000);
start();
