// The studio: the camera's pictures go out over /v1/live, the character's come back (docs/protocol.md).

import { HEADER, JPEG, Wire } from "./wire.js";

const $ = (id) => document.getElementById(id);
const actor = $("actor"), canvas = $("character"), paint = canvas.getContext("2d");
const SIDE = 512, FPS = 30, IN_FLIGHT = 2;

let wire = null, camera = null, recorder = null, lastTake = null, sending = 0, sinceSecond = 0;
const delays = [];

function say(text, isError = false) {
  $("status").textContent = text;
  $("status").classList.toggle("error", isError);
}

async function loadCast(select) {
  const names = await (await fetch("/v1/characters")).json();
  $("cast").replaceChildren(...names.map((name) => new Option(name, name)));
  if (select) $("cast").value = select;
  await showPortrait();
}

async function showPortrait() {
  $("who").textContent = $("cast").value;
  const picture = new Image();
  picture.src = `/v1/characters/${encodeURIComponent($("cast").value)}/picture`;
  await picture.decode().then(() => draw(picture), () => say("That character's picture could not be shown.", true));
}

function draw(image) {
  if (canvas.width !== image.width || canvas.height !== image.height) {
    canvas.width = image.width;
    canvas.height = image.height;
  }
  paint.drawImage(image, 0, 0);
}

async function addPicture(file) {
  if (!file) return;
  say(`Making ${file.name} ready …`);
  const form = new FormData();
  form.append("picture", file);
  const answer = await fetch("/v1/characters", { method: "POST", body: form });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) return say(`${body.detail ?? "The picture could not be used"}. Try another picture with one clear face.`, true);
  await loadCast(body.name);
  wire?.ask("character", body.name);
  say(`${body.name} is ready.`);
}

async function start() {
  if (camera) return stop("Stopped.");
  try {
    camera = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: FPS } }, audio: true })
      .catch(() => navigator.mediaDevices.getUserMedia({ video: true }));
  } catch (error) {
    return say(error.name === "NotAllowedError"
      ? "The camera is not allowed. Allow it in the address bar, then press Start camera again."
      : "No camera was found. Plug one in, then press Start camera again.", true);
  }
  actor.srcObject = camera;
  await actor.play();
  connect();
  $("start").textContent = "Stop camera";
  camera.getVideoTracks()[0].addEventListener("ended", () => stop("The camera stopped. Press Start camera to go on."));
  nextPicture();
}

function stop(text) {
  camera?.getTracks().forEach((track) => track.stop());
  camera = null;
  actor.srcObject = null;
  if (recorder) finishTake();
  wire?.close();
  wire = null;
  $("start").textContent = "Start camera";
  $("record").disabled = $("calibrate").disabled = true;
  say(text);
}

function connect() {
  wire = new Wire({ character: $("cast").value });
  wire.onready = () => {
    say("Live.");
    sending = 0;
    wire.ask("mirror", $("mirror").checked);
    wire.ask("intensity", Number($("intensity").value));
    $("record").disabled = $("calibrate").disabled = false;
  };
  wire.onpicture = async (timeUs, blob) => {
    sending = Math.max(0, sending - 1);
    const image = await createImageBitmap(blob);
    draw(image);
    image.close();
    sinceSecond += 1;
    requestAnimationFrame(() => delays.push(performance.now() - timeUs / 1000));
  };
  wire.onsaid = (message) => {
    if (message.type === "error") say(message.message, true);
    if (message.type === "stats") $("dropped").textContent = message.dropped;
  };
  wire.onlost = (reason, again) => say(again ? "The connection was lost; connecting again …" : reason, true);
}

const small = new OffscreenCanvas(SIDE, SIDE), smallPaint = small.getContext("2d", { alpha: false });
let due = 0;

function nextPicture() {
  if (!camera) return;
  const again = actor.requestVideoFrameCallback ? (f) => actor.requestVideoFrameCallback(f) : requestAnimationFrame;
  again(() => nextPicture());
  const now = performance.now();
  if (now < due - 4 || sending >= IN_FLIGHT || !wire?.isReady) return;
  due = Math.max(due + 1000 / FPS, now);
  sending += 1;
  const side = Math.min(actor.videoWidth, actor.videoHeight);
  smallPaint.drawImage(actor, (actor.videoWidth - side) / 2, (actor.videoHeight - side) / 2, side, side, 0, 0, SIDE, SIDE);
  small.convertToBlob({ type: "image/jpeg", quality: 0.85 }).then((blob) => wire?.picture(JPEG, now * 1000, blob));
}

function record() {
  if (recorder) return finishTake();
  const stream = canvas.captureStream(FPS);
  camera.getAudioTracks().forEach((track) => stream.addTrack(track));
  const types = ["video/mp4;codecs=avc1,mp4a.40.2", "video/mp4", "video/webm;codecs=vp9,opus", "video/webm"];
  const type = types.find((t) => MediaRecorder.isTypeSupported(t));
  const parts = [];
  recorder = new MediaRecorder(stream, { mimeType: type, videoBitsPerSecond: 8_000_000 });
  recorder.ondataavailable = (event) => parts.push(event.data);
  recorder.onstop = () => {
    if (lastTake) URL.revokeObjectURL(lastTake);
    lastTake = URL.createObjectURL(new Blob(parts, { type }));
    $("download").href = lastTake;
    $("download").download = type.startsWith("video/mp4") ? "take.mp4" : "take.webm";
    $("download").hidden = false;
    say("The take is ready to download.");
  };
  recorder.start(1000);
  $("record").textContent = "Stop recording";
  $("record").classList.add("on");
  say("Recording.");
}

function finishTake() {
  recorder.stop();
  recorder = null;
  $("record").textContent = "Record";
  $("record").classList.remove("on");
}

setInterval(() => {
  $("fps").textContent = wire ? sinceSecond : "–";
  sinceSecond = 0;
  if (delays.length) {
    const sorted = delays.splice(0).sort((a, b) => a - b);
    $("delay").textContent = Math.round(sorted[sorted.length >> 1]);
  }
  if (wire?.isReady) wire.ask("stats");
}, 1000);

$("start").addEventListener("click", start);
$("record").addEventListener("click", record);
$("calibrate").addEventListener("click", () => { wire?.ask("calibrate"); say("Your face as it is now is neutral."); });
$("cast").addEventListener("change", () => { wire?.ask("character", $("cast").value); showPortrait(); });
$("intensity").addEventListener("input", () => {
  $("intensity-value").textContent = Number($("intensity").value).toFixed(1);
  wire?.ask("intensity", Number($("intensity").value));
});
$("mirror").addEventListener("change", () => {
  wire?.ask("mirror", $("mirror").checked);
  actor.classList.toggle("mirrored", $("mirror").checked);
});
$("picture").addEventListener("change", (event) => addPicture(event.target.files[0]));
for (const name of ["dragover", "drop", "dragleave"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", name === "dragover");
    if (name === "drop") addPicture(event.dataTransfer.files[0]);
  });
}

loadCast().catch(() => say("The server does not answer. Is `understudy serve` running?", true));
export { HEADER };
