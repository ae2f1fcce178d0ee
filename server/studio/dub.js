// Dub: a clip or a picture, and what it is to say; sent, worked on, played, taken home.

import { Status, download, make, player } from "./make.js";
import { ServiceError, ask, follow, isOver, upload } from "./service.js";

const LENGTHS = [
  ["", "play it back and forth while the speech lasts"], ["loop", "play it over again while the speech lasts"],
  ["hold", "stay at its end while the speech lasts"], ["stretch", "play it slower or faster to fit the speech"],
  ["silence", "keep its length, silent after the speech"], ["cut", "cut to the shorter of the two"],
];
const FACES = [["", "whoever speaks in it"], ["all", "everybody"], ["largest", "the largest face"], ["left", "the leftmost"], ["right", "the rightmost"]];

export function mount(section) {
  const dub = new Dub();
  section.replaceChildren(dub.form, dub.work);
  return { shown() {} };
}

class Dub {
  constructor() {
    this.status = new Status();
    this.abort = null; // of what is being sent or worked on
    this.task = null;
    this.form = this.makeForm();
    this.bar = make("progress", { max: 1, "aria-label": "Progress", hidden: true });
    this.stop = make("button", { type: "button", hidden: true, onclick: () => this.cancel() }, "Cancel");
    this.result = make("div", { className: "result", hidden: true });
    this.work = make("section", { className: "working", "aria-label": "Result" }, make("div", { className: "row" }, this.bar, this.stop), this.status.element, this.result);
    this.status.say("Choose who is to speak and what is to be said.");
  }

  makeForm() {
    this.source = make("input", { type: "file", accept: "video/*,image/*", required: true, id: "dub-source" });
    this.preview = make("div", { className: "preview" });
    this.speech = make("input", { type: "file", accept: "audio/*,video/*", id: "dub-speech" });
    this.sound = make("audio", { controls: true, hidden: true, "aria-label": "The speech that was chosen" });
    this.transcript = make("textarea", { rows: 2, id: "dub-transcript", placeholder: "Not needed; lips close more exactly with it." });
    this.text = make("textarea", { rows: 4, id: "dub-text", maxLength: 20000, placeholder: "Good evening." });
    this.language = make("input", { type: "text", id: "dub-language", value: "en-us", size: 8, autocomplete: "off", spellcheck: false });
    this.length = select("dub-length", LENGTHS);
    this.face = select("dub-face", FACES);
    this.still = make("input", { type: "checkbox", id: "dub-still" });
    this.begin = make("button", { type: "submit", className: "first" }, "Dub");
    const recording = make("div", { className: "part" }, label("Recording", this.speech), this.sound, label("What is said in it", this.transcript, true));
    const text = make("div", { className: "part", hidden: true }, label("Text", this.text, true), label("Language", this.language));
    const kinds = ["recording", "text"].map((kind, i) => make("label", { className: "check" },
      make("input", { type: "radio", name: "said", value: kind, checked: i === 0, onchange: () => {
        recording.hidden = kind !== "recording";
        text.hidden = kind !== "text";
      } }), i ? "A text, for a voice" : "A recording"));
    this.ofClip = make("div", { className: "part" }, label("Whose mouth", this.face), label("Where the clip is shorter or longer", this.length));
    this.ofPicture = make("div", { className: "part", hidden: true }, make("label", { className: "check" }, this.still, "Move the lips alone, without blinks and nods"));
    this.drop = make("fieldset", { className: "panel drop" }, make("legend", {}, "Who speaks"), label("A clip or a picture; or drop one here", this.source), this.preview);
    this.source.addEventListener("change", () => this.chosen());
    this.speech.addEventListener("change", () => {
      const [file] = this.speech.files;
      this.sound.hidden = !file;
      renew(this.sound, file);
    });
    for (const name of ["dragover", "drop", "dragleave"]) {
      this.drop.addEventListener(name, (event) => {
        event.preventDefault();
        this.drop.classList.toggle("over", name === "dragover");
        if (name !== "drop" || !event.dataTransfer.files.length) return;
        this.source.files = event.dataTransfer.files;
        this.chosen();
      });
    }
    const form = make("form", { className: "panels", "aria-label": "Dub" }, this.drop,
      make("fieldset", { className: "panel" }, make("legend", {}, "What is said"), make("div", { className: "row start" }, kinds), recording, text),
      make("fieldset", { className: "panel" }, make("legend", {}, "How"), this.ofClip, this.ofPicture, make("div", { className: "row end" }, this.begin)));
    form.noValidate = true;
    form.addEventListener("input", () => this.status.isError && this.status.say(""));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.dub();
    });
    return form;
  }

  chosen() {
    const [file] = this.source.files;
    if (this.shown) URL.revokeObjectURL(this.shown);
    this.shown = file && URL.createObjectURL(file);
    const isPicture = file?.type.startsWith("image/") ?? false;
    this.ofClip.hidden = isPicture;
    this.ofPicture.hidden = !isPicture;
    if (!file) return this.preview.replaceChildren();
    this.preview.replaceChildren(isPicture ? make("img", { src: this.shown, alt: `The picture ${file.name}` })
      : make("video", { src: this.shown, controls: true, muted: true, playsInline: true, onerror: () => this.preview.replaceChildren(), "aria-label": `The clip ${file.name}` })); // the server may know better
  }

  // What is missing, and where; null where nothing is.
  missing() {
    if (!this.source.files.length) return [this.source, "Choose a clip or a picture of who is to speak."];
    if (this.says === "recording" && !this.speech.files.length) return [this.speech, "Choose a recording of what is to be said, or write a text."];
    if (this.says === "text" && !this.text.value.trim()) return [this.text, "Write what is to be said."];
    return null;
  }

  get says() {
    return new FormData(this.form).get("said");
  }

  async dub() {
    const missing = this.missing();
    if (missing) {
      this.status.say(missing[1], true);
      return missing[0].focus();
    }
    this.abort = new AbortController();
    this.busy(true);
    try {
      const task = await this.order(this.abort.signal);
      this.task = task.id;
      this.finish(await follow(task.id, (now) => this.tell(now), this.abort.signal));
    } catch (error) {
      if (error.name === "AbortError") this.status.say("Stopped. Nothing was made.");
      else if (error instanceof ServiceError) this.status.fail(error);
      else throw error;
    } finally {
      this.task = this.abort = null;
      this.busy(false);
    }
  }

  async order(signal) {
    const [file] = this.source.files, isPicture = file.type.startsWith("image/");
    const source = { type: isPicture ? "image" : "video", uri: await this.send(file, signal) };
    const speech = this.says === "text" ? { type: "text", text: this.text.value, language: this.language.value.trim() || null }
      : { type: "audio", uri: await this.send(this.speech.files[0], signal), transcript: this.transcript.value.trim() || null };
    if (signal.aborted) throw new DOMException("stopped", "AbortError");
    this.bar.removeAttribute("value");
    const how = isPicture ? { still: this.still.checked } : { face: this.face.value || null, length: this.length.value || null };
    return ask("POST", "/v1/lip_sync", { source, speech, ...how });
  }

  send(file, signal) {
    this.status.say(`Sending ${file.name} …`);
    return upload(file, (share) => {
      this.bar.value = share;
      if (share === 1) this.status.say(`Looking at ${file.name} …`);
    }, signal);
  }

  tell(task) {
    if (task.status === "RUNNING") {
      this.bar.value = task.progress;
      this.status.say(`Working: ${Math.round(100 * task.progress)} %`);
    } else if (!isOver(task)) {
      this.bar.removeAttribute("value");
      this.status.say(task.status === "THROTTLED" ? "Waiting until your tier has room …" : "Waiting for a worker …");
    }
  }

  finish(task) {
    if (task.status === "CANCELLED") return this.status.say("Stopped. Nothing was made.");
    if (task.status === "FAILED") return this.status.say(`${task.failure}. Change what is named there, then dub again.`, true);
    const [url] = task.output;
    this.status.say("Done.");
    this.result.replaceChildren(player(task, url), download(task, url));
    this.result.hidden = false;
    this.result.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }

  async cancel() {
    this.stop.disabled = true;
    try {
      if (this.task) await ask("POST", `/v1/tasks/${this.task}/cancel`);
      else this.abort?.abort();
    } catch (error) {
      this.status.fail(error);
    }
    this.stop.disabled = false;
  }

  busy(is) {
    this.begin.disabled = is;
    this.bar.hidden = this.stop.hidden = !is;
    if (is) {
      this.result.hidden = true;
      this.result.replaceChildren();
      this.bar.value = 0;
      this.work.scrollIntoView({ block: "nearest" });
    }
  }
}

function select(id, choices) {
  return make("select", { id }, choices.map(([value, text]) => make("option", { value }, text)));
}

function label(text, control, isBlock = false) {
  return make("label", { htmlFor: control.id, className: isBlock ? "block" : "" }, text, control);
}

function renew(media, file) {
  if (media.src) URL.revokeObjectURL(media.src);
  if (file) media.src = URL.createObjectURL(file);
}
