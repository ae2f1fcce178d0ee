// The studio: the camera's pictures go out over /v1/live, the character's come back (docs/protocol.md).

import { H264, JPEG, PCM16, WEBP, Wire } from "./wire.js";
import { Decoder, Encoder, isAble } from "./h264.js";
import { Shrinker, everyPicture, isAbleUnseen, openCamera, openMicrophone, whyNoCamera, whyNoMicrophone } from "./camera.js";
import { make } from "./make.js";
import { Microphone, Take } from "./take.js";

const $ = (id) => document.getElementById(id);
const actor = $("actor"), canvas = $("character"), paint = canvas.getContext("2d");
const FPS = 30, IN_FLIGHT = 2, FORGOTTEN_MS = 500; // a picture not answered by then was dropped
const MEASURED = 300; // pictures that the meters tell of

const MAKING = "Making "; // how the status begins while somebody is made ready
const CHOICES = { driver: "value", intensity: "value", mirror: "checked", view: "value" }; // controls, and what of them is chosen

const state = { wire: null, encoder: null, decoder: null, camera: null, microphone: null, take: null, character: null, stopPictures: null, rendered: 0, faceless: 0, takes: 0 };
const unsaved = new Set(); // takes that were not downloaded, by URL
const session = sessionKey();
const shrinker = new Shrinker();
const inFlight = new Map(); // capture time, us -> when it was sent, ms
const delays = [];
let shownThisSecond = 0, heldBack = 0, due = 0, newest = -Infinity;

// One key a browser, so that what OBS was told stays true; ?session= names another.
function sessionKey() {
  const asked = new URLSearchParams(location.search).get("session");
  if (asked) return asked;
  const random = Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");
  try {
    return (localStorage.understudy ??= random);
  } catch {
    return random; // storage is not allowed
  }
}

// What was chosen in this browser the last time.
function recall() {
  let chosen = {};
  try {
    chosen = JSON.parse(localStorage["understudy-choices"] ?? "{}");
  } catch {
    // storage is not allowed, or not ours
  }
  for (const [id, what] of Object.entries(CHOICES)) if (id in chosen) $(id)[what] = chosen[id];
  state.character = chosen.character ?? null;
  tellIntensity();
  nameStart();
  actor.classList.toggle("mirrored", $("mirror").checked);
}

function keepChoices() {
  const chosen = { character: state.character };
  for (const [id, what] of Object.entries(CHOICES)) chosen[id] = $(id)[what];
  try {
    localStorage["understudy-choices"] = JSON.stringify(chosen);
  } catch {
    // storage is not allowed
  }
}

function say(text, isError = false) {
  if ($("status").textContent !== text) $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

const sayLive = () => say((state.take ? "Recording. Press Stop recording when you are done." : "Live. Act, and press Record when you are ready.") + (state.microphone ? "" : " No microphone: takes are silent."));

// Characters

async function loadCast(chosen) {
  const names = await (await fetch("/v1/characters")).json();
  $("cast").replaceChildren(...names.map(card));
  choose(chosen ?? (names.includes(state.character) ? state.character : names[0]));
}

function card(name) {
  const label = document.createElement("label"), radio = document.createElement("input"), picture = new Image();
  Object.assign(radio, { type: "radio", name: "character", value: name });
  Object.assign(picture, { src: pictureOf(name), alt: "", loading: "lazy" });
  radio.addEventListener("change", () => choose(name));
  const caption = document.createElement("span");
  caption.textContent = name;
  label.append(radio, picture, caption);
  return label;
}

const pictureOf = (name) => `/v1/characters/${encodeURIComponent(name)}/picture`;

async function choose(name) {
  state.character = name;
  document.querySelector(`input[name=character][value="${CSS.escape(name)}"]`).checked = true;
  $("who").textContent = name;
  canvas.setAttribute("aria-label", `The character ${name}`);
  keepChoices();
  if (state.wire) {
    say(`${MAKING}${name} ready …`);
    state.wire.ask("character", name);
    return state.wire.ask("camera", $("view").value); // each character has its own
  }
  const picture = new Image();
  picture.src = pictureOf(name);
  try {
    await picture.decode();
    if (!state.wire && state.character === name) draw(picture);
  } catch {
    say("That character's picture could not be shown. Choose another.", true);
  }
}

function draw(image) {
  const width = image.displayWidth ?? image.width, height = image.displayHeight ?? image.height;
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  shape(canvas, width, height);
  paint.drawImage(image, 0, 0);
  state.take?.show(canvas);
}

// The frame around a picture or video takes its shape.
function shape(inside, width, height) {
  inside.parentElement.style.setProperty("--ratio", width / height);
}

async function addPicture(file) {
  if (!file) return;
  say(`${MAKING}${file.name} ready …`);
  const form = new FormData();
  form.append("picture", file);
  try {
    const answer = await fetch("/v1/characters", { method: "POST", body: form });
    const body = await answer.json().catch(() => ({}));
    if (!answer.ok) return say(`${body.error ?? "The picture could not be used"}. Try another picture with one clear face.`, true);
    await loadCast(body.name);
    say(`${body.name} is ready.`);
  } catch {
    say("The server did not answer. See that it runs, then add the picture again.", true);
  }
}

// The choice of renderers is shown where the server has more than one; the first is its own.
async function loadRenderers() {
  const names = await (await fetch("/v1/renderers")).json();
  for (const option of [...$("renderer").options]) if (!names.includes(option.value)) option.remove();
  $("renderer").value = names[0];
  $("renderers").hidden = names.length < 2;
}

// Camera and stream

async function start() {
  if (state.camera) return stop("Stopped. Press Start camera to go on.");
  const seen = $("driver").value === "camera";
  $("start").disabled = true;
  say(seen ? "Waiting for the camera …" : "Waiting for the microphone …");
  const inH264 = await isAble();
  try {
    state.camera = await (seen ? openCamera() : openMicrophone());
  } catch (error) {
    return say(seen ? whyNoCamera(error) : whyNoMicrophone(error), true);
  } finally {
    $("start").disabled = false;
  }
  $("start").textContent = seen ? "Stop camera" : "Stop microphone";
  $("driver").disabled = true;
  lead("record");
  listen();
  watchTracks();
  connect(inH264);
  if (seen) await see();
  else await state.microphone.hear((pcm, capturedMs) => {
    if (state.wire?.isReady) state.wire.media(PCM16, Math.round(capturedMs * 1000), new Uint8Array(pcm.buffer));
  });
}

async function see() {
  actor.srcObject = state.camera;
  await actor.play();
  shape(actor, actor.videoWidth, actor.videoHeight);
  $("you").classList.remove("off");
  state.stopPictures = everyPicture(actor, sendPicture);
}

function listen() {
  if (state.camera.getAudioTracks().length) state.microphone = new Microphone(state.camera);
}

function watchTracks() {
  const [camera] = state.camera.getVideoTracks(), [sound] = state.camera.getAudioTracks();
  camera?.addEventListener("ended", () => stop("The camera stopped. Plug it in again, then press Start camera.", true));
  camera?.addEventListener("mute", () => say("The camera sends no pictures. Wake it, or press Stop and Start camera.", true));
  camera?.addEventListener("unmute", sayLive);
  sound?.addEventListener("ended", () => camera ? say("The microphone stopped; you go on without sound. Stop and start the camera to get it back.", true)
    : stop("The microphone stopped. Plug it in again, then press Start.", true));
}

function stop(text, isError = false) {
  state.stopPictures?.();
  state.camera?.getTracks().forEach((track) => track.stop());
  actor.srcObject = null;
  $("you").classList.add("off");
  if (state.take) finishTake();
  state.microphone?.close();
  for (const part of [state.wire, state.encoder, state.decoder]) part?.close();
  Object.assign(state, { camera: null, microphone: null, wire: null, encoder: null, decoder: null, stopPictures: null });
  $("driver").disabled = false;
  nameStart();
  lead("start");
  delays.length = heldBack = 0;
  for (const id of ["server", "dropped"]) $(id).textContent = "–";
  $("record").disabled = $("calibrate").disabled = true;
  say(text, isError);
}

function connect(inH264) {
  say("Connecting …");
  const wire = state.wire = new Wire({ character: state.character, session, driver: $("driver").value, reply: inH264 ? "h264" : "jpeg", renderer: $("renderer").value || undefined });
  if (inH264) {
    state.encoder = new Encoder((timeUs, unit) => wire.media(H264, timeUs, unit), () => {}); // what it cannot do goes as JPEG
    state.decoder = new Decoder(shown, () => wire.ask("keyframe"));
  }
  wire.onready = () => {
    inFlight.clear();
    if (state.encoder) state.encoder.isKeyWanted = true;
    if (wire.driver === "camera") wire.ask("mirror", $("mirror").checked);
    wire.ask("intensity", Number($("intensity").value));
    wire.ask("camera", $("view").value);
    $("record").disabled = false;
    $("calibrate").disabled = wire.driver !== "camera";
    sayLive();
  };
  wire.onpicture = show;
  wire.onsaid = (message) => {
    if (message.type === "error") say(message.message, true);
    if (message.type === "stats") meter(message);
    if (message.type === "cast" && $("status").textContent.startsWith(MAKING)) sayLive();
    if (message.type === "keyframe" && state.encoder) state.encoder.isKeyWanted = true;
  };
  wire.onlost = ({ code, reason, again, tries }) => {
    if (code === 4409) return stop("You went on in another tab. Press Start camera to perform here again.", true);
    if (!again) return stop(`${reason || "The connection was refused"}. Load the page again.`, true);
    say(whyLost(code, reason, tries) + (state.take ? " The take goes on." : ""), true);
  };
}

// In words, while the page tries again by itself.
function whyLost(code, reason, tries) {
  if (code === 1001) return "The server stopped. Start it again, and you go on here.";
  if (reason) return `The server refuses: ${reason}. Trying again …`;
  if (tries > 4) return "The server does not answer. See that `understudy serve` runs; you go on as soon as it does.";
  return "The connection was lost; connecting again …";
}

function sendPicture(capturedMs, picture) {
  const now = performance.now(), wire = state.wire;
  for (const [timeUs, sent] of inFlight) if (now - sent > FORGOTTEN_MS) inFlight.delete(timeUs);
  if (!wire?.isReady || now < due - 4 || !actor.videoWidth) return;
  due = Math.max(due + 1000 / FPS, now);
  if (inFlight.size >= IN_FLIGHT) {
    heldBack += 1;
    return;
  }
  const timeUs = Math.round(capturedMs * 1000);
  inFlight.set(timeUs, now);
  if (state.encoder?.isOpen) state.encoder.put(shrinker.take(picture), timeUs);
  else shrinker.jpeg(picture).then((bytes) => wire.media(JPEG, timeUs, bytes), () => inFlight.delete(timeUs));
}

async function show(kind, timeUs, bytes) {
  for (const sent of inFlight.keys()) if (sent <= timeUs) inFlight.delete(sent);
  if (kind === H264) return state.decoder?.put(timeUs, bytes);
  const image = await createImageBitmap(new Blob([bytes], { type: kind === WEBP ? "image/webp" : "image/jpeg" }));
  shown(timeUs, image);
  image.close();
}

// An image, or a video's frame, that was captured then.
function shown(timeUs, image) {
  if (!state.wire || timeUs <= newest && timeUs >= newest - 5e6) return; // decoding may overtake; a clock may begin anew
  newest = timeUs;
  draw(image);
  canvas.dataset.time = timeUs; // when what is shown was captured, us
  shownThisSecond += 1;
  if (document.hidden) return; // on no screen
  requestAnimationFrame(() => {
    delays.push(performance.now() - timeUs / 1000);
    if (delays.length > MEASURED) delays.shift();
  });
}

// Meters

function quantile(q) {
  const sorted = [...delays].sort((a, b) => a - b);
  return sorted.length ? sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] : 0;
}

function meter(stats) {
  $("dropped").textContent = stats.dropped + heldBack;
  $("server").textContent = `${Math.round(stats.p50_ms)} ms`;
  const seen = stats.rendered - state.rendered, lost = stats.faceless - state.faceless;
  state.rendered = stats.rendered;
  state.faceless = stats.faceless;
  if (seen > 0 && lost > 0.7 * seen) say("No face is seen. Face the camera, with light from the front.", true);
  else if ($("status").textContent.startsWith("No face")) sayLive();
}

setInterval(() => {
  $("fps").textContent = state.wire ? shownThisSecond : "–";
  shownThisSecond = 0;
  $("delay").textContent = delays.length ? `${Math.round(quantile(0.5))} ms` : "–";
  $("delay-worst").textContent = delays.length ? `1 in 100: ${Math.round(quantile(0.99))} ms` : "";
  if (state.take && delays.length) state.microphone?.follow(quantile(0.5));
  if (state.take) $("clock").textContent = `${Math.floor(state.take.seconds / 60)}:${String(Math.floor(state.take.seconds % 60)).padStart(2, "0")}`;
  state.wire?.ask("stats");
}, 1000);
setInterval(() => { $("loudness").value = state.microphone?.loudness ?? 0; }, 100);

// Takes

function record() {
  if (state.take) return finishTake();
  state.take = new Take(canvas, state.microphone?.delayed(quantile(0.5)) ?? [], FPS);
  $("record").textContent = "Stop recording";
  $("record").classList.add("on");
  $("clock").hidden = false;
  sayLive();
}

async function finishTake() {
  const take = state.take;
  state.take = null;
  $("record").textContent = "Record";
  $("record").classList.remove("on");
  $("clock").hidden = true;
  const { url, suffix } = await take.finish(), name = `take-${state.takes += 1}`;
  unsaved.add(url);
  const shown = make("div", { className: "take" },
    make("video", { src: url, controls: true, playsInline: true, "aria-label": name }),
    make("a", { className: "button", href: url, download: name + suffix, onclick: () => unsaved.delete(url) }, `Download ${name}${suffix}`));
  $("takes").prepend(shown);
  $("takes").hidden = false;
  shown.scrollIntoView({ block: "nearest", behavior: "smooth" });
  if (state.camera) say("The take is ready to play and download.");
}

// Controls

function calibrate() {
  state.wire?.ask("calibrate");
  say("Your face as it is now is neutral.");
}

function mirror() {
  if (state.wire?.driver === "camera") state.wire.ask("mirror", $("mirror").checked);
  actor.classList.toggle("mirrored", $("mirror").checked);
}

// Which button is the next to be pressed.
function lead(id) {
  for (const button of ["start", "record"]) $(button).classList.toggle("first", button === id);
  $("keys-hint").hidden = id === "start";
}

function tellIntensity() {
  $("intensity-value").textContent = Number($("intensity").value).toFixed(1);
}

function nameStart() {
  $("start").textContent = $("driver").value === "camera" ? "Start camera" : "Start microphone";
}

$("start").addEventListener("click", start);
actor.addEventListener("resize", () => shape(actor, actor.videoWidth, actor.videoHeight)); // a phone that was turned
$("driver").addEventListener("change", nameStart);
$("record").addEventListener("click", record);
$("calibrate").addEventListener("click", calibrate);
$("mirror").addEventListener("change", mirror);
$("view").addEventListener("change", () => state.wire?.ask("camera", $("view").value));
$("renderer").addEventListener("change", () => state.wire?.ask("renderer", $("renderer").value));
for (const id of Object.keys(CHOICES)) $(id).addEventListener("change", keepChoices);
$("intensity").addEventListener("input", () => {
  tellIntensity();
  state.wire?.ask("intensity", Number($("intensity").value));
});
$("picture").addEventListener("change", (event) => addPicture(event.target.files[0]));
for (const name of ["dragover", "drop", "dragleave"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop") addPicture(event.dataTransfer.files[0]);
  });
}
document.addEventListener("keydown", (event) => {
  if (!$("stage").checkVisibility() || event.ctrlKey || event.metaKey || event.altKey || event.target.matches("select, input:not([type=checkbox], [type=radio], [type=range])")) return;
  const key = event.key.toLowerCase();
  if (key === "r" && !$("record").disabled) record();
  if (key === "n" && !$("calibrate").disabled) calibrate();
  if (key === "m") {
    $("mirror").checked = !$("mirror").checked;
    mirror();
    keepChoices();
  }
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  state.wire?.hurry();
  state.microphone?.context.resume();
  if (state.camera && actor.paused) actor.play();
});
window.addEventListener("beforeunload", (event) => { if (state.take || unsaved.size) event.preventDefault(); }); // the browser asks
window.addEventListener("online", () => state.wire?.hurry());

recall();
$("in-sight").hidden = isAbleUnseen;
for (const [id, path] of [["obs-cut-out", "/stage.html?cut_out=1&session="], ["obs-whole", "/stage.html?session="], ["mjpeg", "/v1/watch.mjpeg?session="]]) {
  $(id).href = $(id).textContent = `${location.origin}${path}${encodeURIComponent(session)}`;
}
Promise.all([loadCast(), loadRenderers()]).catch(() => say("The server does not answer. See that `understudy serve` runs, then load the page again.", true));
