// Elements made in one line: make("button", { type: "button", onclick }, "Cancel").

export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value; else element.setAttribute(name, value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// A line that says how things stand, to screen readers too.
export class Status {
  constructor() {
    this.element = make("p", { className: "said", role: "status" });
    this.element.setAttribute("aria-live", "polite");
  }

  get isError() {
    return this.element.classList.contains("error");
  }

  say(text, isError = false, ...more) {
    this.element.classList.toggle("error", isError);
    this.element.replaceChildren(text, ...more);
  }

  // What failed; where a key would help, with the way to where it is entered.
  fail(error) {
    const isKey = error.status === 401;
    this.say(error.message, true, ...(isKey ? [" ", make("a", { href: "#keys" }, "Go to Keys")] : []));
  }
}

export const NAMES = { act: "Act", lip_sync: "Dub", capture: "Capture" };

// A finished task's result, to be played where it can be.
export function player(task, url) {
  if (!/\.(mp4|mov|mkv|webm)$/.test(new URL(url).pathname)) return null;
  return make("video", { src: local(url), controls: true, playsInline: true, autoplay: true, "aria-label": `Result of ${NAMES[task.kind]}` });
}

export function download(task, url) {
  const suffix = /\.\w+$/.exec(new URL(url).pathname)[0];
  return make("a", { className: "button", href: local(url), download: `${NAMES[task.kind].toLowerCase()}-${task.id.slice(0, 8)}${suffix}` }, "Download");
}

// Links begin with what the world calls the server; the page asks where it came from.
const local = (url) => url.replace(/^https?:\/\/[^/]+/, "");
