// The HTTP service as the page uses it (docs/service.md): calls, uploads, and what happens to tasks.

export class ServiceError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const KEPT = "understudy-key";
let key = kept();

function kept() {
  try {
    return localStorage.getItem(KEPT) ?? "";
  } catch {
    return ""; // storage is not allowed: the key is forgotten with the page
  }
}

export const currentKey = () => key;

export function useKey(secret) {
  key = secret.trim();
  try {
    if (key) localStorage.setItem(KEPT, key); else localStorage.removeItem(KEPT);
  } catch {
    // it holds until the page is closed
  }
  window.dispatchEvent(new Event("key"));
}

const headers = () => (key ? { Authorization: `Bearer ${key}` } : {});

// Ask the service; what it answers, or a ServiceError in words with what to do next.
export async function ask(method, path, body) {
  let answer;
  try {
    answer = await fetch(path, { method, headers: { ...headers(), ...(body ? { "Content-Type": "application/json" } : {}) }, body: body && JSON.stringify(body) });
  } catch {
    throw new ServiceError(0, "The server does not answer. See that understudy serve runs, then try again.");
  }
  const said = answer.status === 204 ? null : await answer.json().catch(() => ({}));
  if (!answer.ok) throw refused(answer.status, said);
  return said;
}

function refused(status, said) {
  const found = status === 401 ? (key ? "the key that this browser uses is not known, or was revoked" : "this server wants a key")
    : said?.issues?.[0]?.message ?? said?.error ?? `the server answered ${status}`;
  const next = {
    401: "Enter one under Keys, then try again.",
    413: "Make the file shorter or smaller, then try again.",
    429: "Wait a little, then try again.",
    500: "Try again; if it stays so, the server's log says why.",
  }[status];
  return new ServiceError(status, sentence(found) + (next ? ` ${next}` : ""));
}

// Our errors have no capital and no full stop; a file's name at the front stays as it is.
export function sentence(text) {
  const begin = /^[\w-]*[./]/.test(text.split(" ")[0]) ? text.charAt(0) : text.charAt(0).toUpperCase();
  return begin + text.slice(1).replace(/\.?$/, ".");
}

// Send a file; returns its URI. `told(share)` while it goes, `signal` breaks off.
export async function upload(file, told, signal) {
  const { runwayUri, uploadUrl, fields } = await ask("POST", "/v1/uploads", { filename: file.name || "file" });
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("file", file);
  await new Promise((done, failed) => {
    const request = new XMLHttpRequest(); // fetch does not tell how much has gone
    request.upload.onprogress = (event) => told(event.loaded / event.total);
    request.onload = () => {
      let said = {};
      try {
        said = JSON.parse(request.responseText || "{}");
      } catch {
        // a proxy's own words
      }
      if (request.status < 300) done(); else failed(refused(request.status, said));
    };
    request.onerror = () => failed(new ServiceError(0, `${file.name} did not arrive. See that the server runs, then try again.`));
    request.onabort = () => failed(new DOMException("stopped", "AbortError"));
    signal?.addEventListener("abort", () => request.abort());
    const { pathname, search } = new URL(uploadUrl);
    request.open("POST", pathname + search);
    request.send(form);
  });
  return runwayUri;
}

// A task followed to its end; `told(task)` whenever it changed.
export async function follow(id, told, signal) {
  for (let wait = 300; ; wait = Math.min(1500, wait * 1.3)) {
    const task = await ask("GET", `/v1/tasks/${id}`);
    if (signal?.aborted) throw new DOMException("stopped", "AbortError");
    told(task);
    if (isOver(task)) return task;
    await new Promise((done) => setTimeout(done, wait));
  }
}

export const isOver = ({ status }) => ["SUCCEEDED", "FAILED", "CANCELLED"].includes(status);

const AGAIN_MS = [250, 500, 1000, 2000, 5000];

// What happens to tasks, from now on and through lost connections. `each(event)`; `back()` after a gap.
export class Events {
  constructor(each, back) {
    Object.assign(this, { each, back, after: null, tries: 0 });
    window.addEventListener("key", () => { this.after = null; this.open(); });
    this.open();
  }

  open() {
    clearTimeout(this.timer);
    const before = this.socket;
    const socket = this.socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/events`);
    before?.close();
    socket.onopen = () => socket.send(JSON.stringify({ type: "hello", ...(key && { key }), ...(this.after !== null && { after: this.after }) }));
    socket.onmessage = ({ data }) => {
      const said = JSON.parse(data);
      if (said.type === "ready") {
        this.after = said.after;
        if (this.tries) this.back();
        this.tries = 0;
      } else {
        this.after = said.number;
        this.each(said);
      }
    };
    socket.onclose = ({ code }) => {
      if (socket !== this.socket || code === 4403) return; // a key that lets nobody in: the next one opens anew
      this.timer = setTimeout(() => this.open(), AGAIN_MS[Math.min(this.tries, AGAIN_MS.length - 1)]);
      this.tries += 1;
    };
  }
}
