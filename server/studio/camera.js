// The camera's pictures, one call for each, made small enough to send.

const LONGEST_PX = 640; // of a picture that is sent; a face needs no more
const QUALITY = 0.85;
const SOUND = { echoCancellation: false, noiseSuppression: true, autoGainControl: true };

// The microphone alone. Throws what getUserMedia throws.
export const openMicrophone = () => navigator.mediaDevices.getUserMedia({ audio: SOUND });

// Camera and microphone; the camera alone where there is no microphone. Throws what getUserMedia throws.
export async function openCamera() {
  const video = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 }, facingMode: "user", resizeMode: "none" };
  const audio = SOUND;
  try {
    return await navigator.mediaDevices.getUserMedia({ video, audio });
  } catch (error) {
    if (error.name === "NotAllowedError" && !(await isAllowed("microphone"))) {
      return navigator.mediaDevices.getUserMedia({ video });
    }
    if (["NotFoundError", "NotReadableError", "OverconstrainedError"].includes(error.name)) {
      return navigator.mediaDevices.getUserMedia({ video });
    }
    throw error;
  }
}

async function isAllowed(name) {
  try {
    return (await navigator.permissions.query({ name })).state !== "denied";
  } catch {
    return true;
  }
}

// In words, with what to do next.
export function whyNoMicrophone(error) {
  if (!navigator.mediaDevices) return whyNoCamera(error).replace("cameras", "microphones");
  if (error.name === "NotAllowedError") return "The microphone is not allowed. Allow it in the address bar, then press Start again.";
  return "No microphone was found. Plug one in, then press Start again.";
}

export function whyNoCamera(error) {
  if (!navigator.mediaDevices) return "Browsers give cameras only to pages from this machine or over https. Open http://localhost:PORT/, or serve through https.";
  if (error.name === "NotAllowedError") return "The camera is not allowed. Allow it in the address bar, then press Start camera again.";
  if (error.name === "NotReadableError") return "Another program uses the camera. Close it, then press Start camera again.";
  return "No camera was found. Plug one in, then press Start camera again.";
}

// Whether a page that nobody looks at may go on performing: its videos stand still there, its cameras do not.
export const isAbleUnseen = "MediaStreamTrackProcessor" in window;

// Calls `each(capturedMs, picture)` for every new picture of a camera that a video plays, until the returned function is
// called; the picture is the video's, or while nobody looks at the page the camera's own, if the browser gives it.
export function everyPicture(video, each) {
  let on = true, isUnseen = false;
  const next = (now, frame) => {
    if (!on) return;
    if (!isUnseen && (frame || video.readyState >= 2)) each(frame?.captureTime ?? now, video);
    ask();
  };
  const ask = () => (video.requestVideoFrameCallback ? video.requestVideoFrameCallback(next) : requestAnimationFrame(next));
  const unseen = async () => {
    if (isUnseen || !document.hidden || !isAbleUnseen) return;
    isUnseen = true;
    const track = video.srcObject.getVideoTracks()[0].clone(), reader = new MediaStreamTrackProcessor({ track }).readable.getReader();
    while (on && document.hidden) {
      const { value: frame, done } = await reader.read();
      if (done) break;
      each(performance.now(), frame);
      frame.close();
    }
    track.stop();
    isUnseen = false;
  };
  document.addEventListener("visibilitychange", unseen);
  ask();
  return () => {
    on = false;
    document.removeEventListener("visibilitychange", unseen);
  };
}

// What a video or a frame of one shows, no larger than is sent, with even sides.
export class Shrinker {
  constructor() {
    this.canvas = new OffscreenCanvas(16, 16);
    this.paint = this.canvas.getContext("2d", { alpha: false });
  }

  take(picture) {
    const sides = [picture.videoWidth ?? picture.displayWidth, picture.videoHeight ?? picture.displayHeight];
    const scale = Math.min(1, LONGEST_PX / Math.max(...sides));
    const [width, height] = sides.map((side) => Math.max(16, 2 * Math.round(side * scale / 2)));
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.paint.drawImage(picture, 0, 0, width, height);
    return this.canvas;
  }

  // As the bytes of a JPEG.
  async jpeg(picture) {
    const blob = await this.take(picture).convertToBlob({ type: "image/jpeg", quality: QUALITY });
    return new Uint8Array(await blob.arrayBuffer());
  }
}
