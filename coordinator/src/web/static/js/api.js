// Calls of the coordinator's API, and its streams.

const JOBS = "kindred.v1.JobService";
const NODES = "kindred.v1.NodeService";
const EVENTS = "kindred.v1.EventService";

/** A call that was refused: `message` is the coordinator's own sentence. */
export class Refused extends Error {
  constructor(failure, status) {
    super(failure.message || `the coordinator answered ${status}`);
    Object.assign(this, { reason: failure.reason, code: failure.code, status });
  }
}

let onSignedOut = () => {};
let onReach = () => {};

/** Who is told that nobody is signed in, and whether the coordinator answers. */
export function listen(signedOut, reach) {
  [onSignedOut, onReach] = [signedOut, reach];
}

async function fetched(path, options, signal) {
  let response;
  try {
    response = await fetch(path, { ...options, signal, credentials: "same-origin" });
  } catch (error) {
    if (error.name !== "AbortError") onReach(false);
    throw error.name === "AbortError" ? error : new Refused({ message: "the coordinator does not answer", code: "Unavailable" }, 0);
  }
  onReach(true);
  if (response.status === 204) return null;
  const isJson = (response.headers.get("content-type") ?? "").includes("json");
  const body = isJson ? await response.json() : { message: (await response.text()).trim() };
  if (response.ok) return body;
  if (response.status === 401 && !path.endsWith("/session")) onSignedOut();
  throw new Refused(body, response.status);
}

const posted = (path, body, signal) =>
  fetched(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body ?? {}) }, signal);

const call = (service, method) => (request, signal) => posted(`/api/call/${service}/${method}`, request, signal);

export const jobs = {
  get: call(JOBS, "GetJob"), list: call(JOBS, "ListJobs"), explain: call(JOBS, "ExplainJob"), curves: call(JOBS, "ListCurves"),
  checkpoints: call(JOBS, "ListCheckpoints"), pin: call(JOBS, "PinCheckpoint"),
  cancel: call(JOBS, "CancelJob"), suspend: call(JOBS, "SuspendJob"), resume: call(JOBS, "ResumeJob"),
  departures: (id, signal) => fetched(`/api/departures/${encodeURIComponent(id)}`, {}, signal),
};
export const nodes = {
  list: call(NODES, "ListNodes"), cordon: call(NODES, "CordonNode"), uncordon: call(NODES, "UncordonNode"), drain: call(NODES, "DrainNode"),
};
export const events = { list: call(EVENTS, "ListEvents") };
export const session = {
  show: () => fetched("/api/session"),
  signIn: (token) => posted("/api/session", { token }),
  signOut: () => fetched("/api/session", { method: "DELETE", headers: { "content-type": "application/json" } }),
};

/** All pages of a listing. */
export async function all(list, request, field, signal) {
  const found = [];
  let page = { next_page_token: "" };
  do {
    page = await list({ ...request, page_size: 1000, page_token: page.next_page_token }, signal);
    found.push(...page[field]);
  } while (page.next_page_token && found.length < 20_000);
  return found;
}

/**
 * Follows a stream until `signal`; after a lost connection it goes on behind the last marker.
 * `handlers`: message(answer), end(), failure(failure).
 */
function follow(service, method, request, handlers, signal) {
  let marker = null;
  let pause = 500;
  const open = () => {
    if (signal.aborted) return;
    const asked = marker === null ? request : { ...request, ...marker };
    const source = new EventSource(`/api/stream/${service}/${method}?request=${encodeURIComponent(JSON.stringify(asked))}`);
    const close = () => source.close();
    const again = () => {
      close();
      signal.removeEventListener("abort", close);
      setTimeout(open, pause);
      pause = Math.min(2 * pause, 10_000);
    };
    signal.addEventListener("abort", close);
    source.onmessage = (event) => {
      onReach(true);
      pause = 500;
      const answer = JSON.parse(event.data);
      marker = handlers.marker?.(answer) ?? marker;
      handlers.message(answer);
    };
    source.addEventListener("end", () => { close(); handlers.end?.(); });
    source.addEventListener("failure", (event) => {
      const failure = JSON.parse(event.data);
      if (failure.code === "Unauthenticated") { close(); onSignedOut(); } else if (failure.code === "Unavailable" || failure.code === "ResourceExhausted") again();
      else { close(); handlers.failure?.(failure); }
    });
    source.onerror = () => {
      if (source.readyState === EventSource.CLOSED || !navigator.onLine) { onReach(false); again(); } else onReach(false);
    };
  };
  open();
}

export const watchJob = (id, handlers, signal) =>
  follow(JOBS, "WatchJob", { job_id: id }, { marker: (answer) => ({ after: answer.resume_marker }), ...handlers }, signal);
export const readLogs = (request, handlers, signal) =>
  follow(JOBS, "ReadLogs", request, { marker: (answer) => ({ after_line: answer.last_line, tail: 0 }), ...handlers }, signal);
export const watchEvents = (request, handlers, signal) =>
  follow(EVENTS, "WatchEvents", request, { marker: (answer) => ({ after_number: answer.resume_marker }), ...handlers }, signal);
