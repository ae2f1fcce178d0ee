// A session's character and nothing else, for OBS; with ?cut_out=1 without what is behind it.

import { HEADER } from "./wire.js";

const asked = new URLSearchParams(location.search);
const canvas = document.getElementById("shown"), paint = canvas.getContext("2d");
const cutOut = asked.has("cut_out");

// A cut-out comes as two halves side by side: the picture, and its opacity in grey.
function joined(image) {
  const width = image.width / 2, both = new OffscreenCanvas(image.width, image.height).getContext("2d", { willReadFrequently: true });
  both.drawImage(image, 0, 0);
  const seen = both.getImageData(0, 0, width, image.height), matte = both.getImageData(width, 0, width, image.height);
  for (let i = 3; i < seen.data.length; i += 4) seen.data[i] = matte.data[i - 2];
  return seen;
}

async function show(message) {
  const image = await createImageBitmap(new Blob([new Uint8Array(message, HEADER)], { type: "image/jpeg" }));
  const width = cutOut ? image.width / 2 : image.width;
  if (canvas.width !== width || canvas.height !== image.height) Object.assign(canvas, { width, height: image.height });
  if (cutOut) paint.putImageData(joined(image), 0, 0);
  else paint.drawImage(image, 0, 0);
  image.close();
}

function connect() {
  const query = new URLSearchParams({ session: asked.get("session") ?? "", cut_out: cutOut });
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/watch?${query}`);
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => show(data);
  socket.onclose = () => setTimeout(connect, 1000);
}

connect();
