// Jobs: what was ordered, how far it is, and what came of it.

import { NAMES, Status, download, make, player } from "./make.js";
import { Events, ServiceError, ask, isOver, sentence } from "./service.js";

const STATES = { PENDING: "Waiting", THROTTLED: "Waiting for room", RUNNING: "Working", SUCCEEDED: "Done", FAILED: "Failed", CANCELLED: "Cancelled" };
const AT_ONCE = 50;

export function mount(section) {
  const jobs = new Jobs();
  section.replaceChildren(jobs.status.element, jobs.list, jobs.more);
  return { shown: () => jobs.load() };
}

class Jobs {
  constructor() {
    this.status = new Status();
    this.cards = new Map(); // id -> Card
    this.list = make("ul", { className: "jobs", "aria-label": "Jobs, the newest first" });
    this.more = make("button", { type: "button", hidden: true, onclick: () => this.load(this.next) }, "Show older ones");
    this.events = new Events((event) => this.hear(event), () => this.load());
    window.addEventListener("key", () => this.load());
  }

  async load(before) {
    try {
      const { tasks, next } = await ask("GET", `/v1/tasks?limit=${AT_ONCE}${before ? `&before=${before}` : ""}`);
      if (!before) {
        const there = new Set(tasks.map((task) => task.id));
        for (const [id, card] of this.cards) if (!there.has(id)) card.element.remove(), this.cards.delete(id);
      }
      for (const task of tasks) this.card(task, false);
      this.next = next;
      this.more.hidden = !next;
      this.say();
    } catch (error) {
      this.fail(error);
    }
  }

  card(task, isNew) {
    const there = this.cards.get(task.id);
    if (there) return there.tell(task);
    const card = new Card(this, task);
    this.cards.set(task.id, card);
    if (isNew) this.list.prepend(card.element); else this.list.append(card.element);
  }

  async hear(event) {
    const there = this.cards.get(event.task);
    if (there && event.status === "RUNNING" && there.task.status === "RUNNING") return there.progress(event.progress);
    try {
      this.card(await ask("GET", `/v1/tasks/${event.task}`), true);
      this.say();
    } catch (error) {
      if (error.status !== 404) this.fail(error); // deleted meanwhile
    }
  }

  forget(id) {
    this.cards.get(id)?.element.remove();
    this.cards.delete(id);
    this.say();
  }

  say() {
    const open = [...this.cards.values()].filter(({ task }) => !isOver(task)).length;
    if (!this.cards.size) this.status.say("Nothing was ordered yet. Start with Dub, or send a job to the HTTP interface.", false, " ", make("a", { href: "#dub" }, "Go to Dub"));
    else this.status.say(open ? `${open} of ${this.cards.size} not over.` : "All are over.");
  }

  fail(error) {
    if (!(error instanceof ServiceError)) throw error;
    this.status.fail(error);
    if (error.status === 401) {
      this.list.replaceChildren();
      this.cards.clear();
      this.more.hidden = true;
    }
  }
}

class Card {
  constructor(jobs, task) {
    this.jobs = jobs;
    this.bar = make("progress", { max: 1, "aria-label": "Progress" });
    this.state = make("span", { className: "state" });
    this.why = make("p", { className: "why" });
    this.doing = make("div", { className: "row end" });
    this.shown = make("div", { className: "result", hidden: true });
    const when = new Date(task.createdAt);
    this.element = make("li", { className: "panel" },
      make("div", { className: "head" }, make("strong", {}, NAMES[task.kind]), task.name && make("span", { className: "name" }, task.name), make("time", { dateTime: task.createdAt }, when.toLocaleString([], { dateStyle: "medium", timeStyle: "short" })), make("code", { title: task.id }, task.id.slice(0, 8)), this.state),
      this.bar, this.why, this.doing, this.shown);
    this.tell(task);
  }

  tell(task) {
    const changed = this.task?.status !== task.status;
    this.task = task;
    this.element.dataset.status = task.status;
    this.state.textContent = STATES[task.status];
    this.bar.hidden = task.status !== "RUNNING";
    this.why.hidden = task.status !== "FAILED";
    if (task.status === "FAILED") this.why.textContent = sentence(task.failure);
    if (task.status === "RUNNING") this.progress(task.progress);
    if (changed) this.offer();
  }

  progress(share) {
    this.task.progress = this.bar.value = share;
    this.state.textContent = `${STATES.RUNNING}, ${Math.round(100 * share)} %`;
  }

  // The buttons that make sense now; the one that had the focus keeps it where it is still there.
  offer() {
    const focused = this.doing.contains(document.activeElement) && document.activeElement.textContent;
    const { task } = this, [url] = task.output ?? [];
    this.doing.replaceChildren(...[
      url && player(task, url) && this.button("Play", () => this.play(url)),
      url && download(task, url),
      !isOver(task) && this.button("Cancel", () => this.act("POST", "/cancel")),
      isOver(task) && task.status !== "SUCCEEDED" && this.button("Retry", () => this.retry()),
      isOver(task) && this.button("Delete", () => this.act("DELETE", "")),
    ].filter(Boolean));
    if (focused) ([...this.doing.children].find((each) => each.textContent === focused) ?? this.doing.firstElementChild)?.focus();
  }

  button(text, onclick) {
    return make("button", { type: "button", onclick, "aria-label": `${text} ${NAMES[this.task.kind]} ${this.task.id.slice(0, 8)}` }, text);
  }

  play(url) {
    this.shown.hidden = !this.shown.hidden;
    this.shown.replaceChildren(...(this.shown.hidden ? [] : [player(this.task, url)]));
  }

  async act(method, what) {
    try {
      const task = await ask(method, `/v1/tasks/${this.task.id}${what}`);
      if (task) this.tell(task); else this.jobs.forget(this.task.id);
      this.jobs.say();
    } catch (error) {
      this.jobs.fail(error);
    }
  }

  async retry() {
    try {
      const { id } = await ask("POST", `/v1/tasks/${this.task.id}/retry`);
      this.jobs.card(await ask("GET", `/v1/tasks/${id}`), true);
      this.jobs.say();
    } catch (error) {
      this.jobs.fail(error);
    }
  }
}
